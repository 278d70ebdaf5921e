//! The books under every order of events, on every kind of disk, and in actors that are killed.

mod admissions;
mod desk;
mod disk;
mod faults;
mod model;
mod shells;
