//! The last so many of something, by name: what is put there last pushes out what was put there first.

use std::collections::{BTreeMap, VecDeque};

/// See the module's page.
#[derive(Clone, Debug)]
pub struct Shelf<K, V> {
    kept: BTreeMap<K, V>,
    order: VecDeque<K>,
    limit: usize,
}

impl<K: Ord + Clone, V> Shelf<K, V> {
    /// An empty one with room for `limit`.
    pub fn new(limit: usize) -> Shelf<K, V> {
        Shelf {
            kept: BTreeMap::new(),
            order: VecDeque::new(),
            limit,
        }
    }

    /// Puts something there, in place of what was called so.
    pub fn put(&mut self, name: K, value: V) {
        if self.kept.insert(name.clone(), value).is_none() {
            self.order.push_back(name);
        }
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.kept.remove(&oldest);
        }
    }

    /// Keeps only what `stays`.
    pub fn retain(&mut self, mut stays: impl FnMut(&V) -> bool) {
        let Shelf { kept, order, .. } = self;
        kept.retain(|_, value| stays(value));
        order.retain(|name| kept.contains_key(name));
    }

    /// What is called so.
    pub fn get(&self, name: &K) -> Option<&V> {
        self.kept.get(name)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, name: &K) -> Option<&mut V> {
        self.kept.get_mut(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_put_there_goes_first_and_a_name_counts_once() {
        let mut shelf = Shelf::new(2);
        for (name, value) in [(1, 'a'), (2, 'b'), (1, 'c'), (3, 'd')] {
            shelf.put(name, value);
        }
        assert_eq!(shelf.get(&1), None);
        assert_eq!((shelf.get(&2), shelf.get(&3)), (Some(&'b'), Some(&'d')));
        *shelf.get_mut(&3).expect("it is there") = 'e';
        assert_eq!(shelf.get(&3), Some(&'e'));
        shelf.retain(|value| *value != 'b');
        shelf.put(4, 'f');
        assert_eq!(
            [2, 3, 4].map(|name| shelf.get(&name).copied()),
            [None, Some('e'), Some('f')]
        );
    }
}
