//! The deliveries of all sessions that one HTTP request has: one, or one for each of its prompts.
//!
//! Not all of them are open at once, so that a client with many prompts does not fill the queue that others
//! stand in. A session is opened when an earlier one is over; which deliveries come first is not said, only
//! whose each is. Dropping this drops every receiver, and that hangs up.

use crate::gateway::shared::Shared;
use crate::problem::Problem;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use troop_actors::ids::MemberId;
use troop_actors::session::Deliveries;
use troop_actors::session::protocol::{Delivery, Order, Trouble};

/// See the module's page.
pub(crate) struct Sources {
    shared: Arc<Shared>,
    orders: VecDeque<(usize, Order)>,
    opening: Option<(usize, Opening)>,
    open: Vec<(usize, Deliveries)>,
    turn: usize,
    payer: Option<MemberId>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Deliveries, Problem>> + Send>>;

impl Sources {
    /// The sessions of `orders`, none of which is open yet. What each delivers is told with its place here.
    pub(crate) fn new(shared: &Arc<Shared>, orders: Vec<Order>) -> Sources {
        Sources {
            payer: orders.first().map(|order| order.payer),
            shared: shared.clone(),
            orders: orders.into_iter().enumerate().collect(),
            opening: None,
            open: Vec::new(),
            turn: 0,
        }
    }

    /// The next delivery of any of them.
    pub(crate) async fn next(&mut self) -> (usize, Result<Delivery, Problem>) {
        poll_fn(|context| self.poll(context)).await
    }

    /// The same, for whoever is polled himself. To be asked only while something is still to come.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<(usize, Result<Delivery, Problem>)> {
        if let Some(refused) = self.poll_open(context) {
            return Poll::Ready(refused);
        }
        for _ in 0..self.open.len() {
            self.turn = (self.turn + 1) % self.open.len();
            let (source, deliveries) = &mut self.open[self.turn];
            let source = *source;
            let Poll::Ready(delivery) = deliveries.poll_recv(context) else {
                continue;
            };
            if matches!(
                delivery,
                None | Some(Delivery::Done { .. } | Delivery::Failed(_))
            ) {
                self.open.swap_remove(self.turn);
                // Whoever may be opened in its place is looked at before the next one sleeps.
                context.waker().wake_by_ref();
            }
            return Poll::Ready((
                source,
                delivery.ok_or_else(|| (&Trouble::Interrupted).into()),
            ));
        }
        Poll::Pending
    }

    /// Opens what may be open; the refusal of one that cannot be.
    fn poll_open(
        &mut self,
        context: &mut Context<'_>,
    ) -> Option<(usize, Result<Delivery, Problem>)> {
        while self.open.len() < OPEN_MAX {
            if self.opening.is_none() {
                let (source, order) = self.orders.pop_front()?;
                let shared = self.shared.clone();
                let opening = async move {
                    let opening = shared.backend.open(order, shared.gateway.clone());
                    shared.ask("session", opening).await
                };
                self.opening = Some((source, Box::pin(opening)));
            }
            let (source, opening) = self.opening.as_mut()?;
            let Poll::Ready(opened) = opening.as_mut().poll(context) else {
                return None;
            };
            let source = *source;
            self.opening = None;
            match opened {
                Ok(deliveries) => self.open.push((source, deliveries)),
                Err(problem) => return Some((source, Err(problem))),
            }
        }
        None
    }

    /// Who pays for all of them.
    pub(crate) fn payer(&self) -> Option<MemberId> {
        self.payer
    }

    /// Hangs up on all of them.
    pub(crate) fn close(&mut self) {
        self.orders.clear();
        self.opening = None;
        self.open.clear();
    }
}

/// Sessions of one HTTP request that are open at once: as many as an engine runs side by side.
const OPEN_MAX: usize = 8;
