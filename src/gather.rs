//! Sets and maps that are made item by item.
//!
//! `collect` sorts all items first, and a sort is 5 KB of machine code for each type of item: there were
//! forty of them, a fiftieth of what a cold start loads. Here there are a few items each time.

use std::collections::{BTreeMap, BTreeSet};

/// What can be made of items, one by one.
pub(crate) trait Gathered<T>: Sized {
    fn gathered(items: impl Iterator<Item = T>) -> Self;
}

/// `collect`, for sets and maps.
pub(crate) trait Gather: Iterator + Sized {
    fn gather<C: Gathered<Self::Item>>(self) -> C {
        C::gathered(self)
    }
}

impl<I: Iterator> Gather for I {}

impl<T: Ord> Gathered<T> for BTreeSet<T> {
    fn gathered(items: impl Iterator<Item = T>) -> Self {
        let mut set = Self::new();
        for item in items {
            set.insert(item);
        }
        set
    }
}

impl<K: Ord, V> Gathered<(K, V)> for BTreeMap<K, V> {
    fn gathered(items: impl Iterator<Item = (K, V)>) -> Self {
        let mut map = Self::new();
        for (key, value) in items {
            map.insert(key, value);
        }
        map
    }
}

/// What is made of one item.
pub(crate) fn one<T, C: Gathered<T>>(item: T) -> C {
    C::gathered(std::iter::once(item))
}

/// None if an item is.
impl<T, C: Gathered<T>> Gathered<Option<T>> for Option<C> {
    fn gathered(items: impl Iterator<Item = Option<T>>) -> Self {
        let mut is_whole = true;
        let items = items.map_while(|item| {
            is_whole &= item.is_some();
            item
        });
        let all = C::gathered(items);
        is_whole.then_some(all)
    }
}

/// The first error, if an item is one.
impl<T, E, C: Gathered<T>> Gathered<Result<T, E>> for Result<C, E> {
    fn gathered(items: impl Iterator<Item = Result<T, E>>) -> Self {
        let mut error = None;
        let items = items.map_while(|item| item.map_err(|it| error = Some(it)).ok());
        let all = C::gathered(items);
        match error {
            Some(error) => Err(error),
            None => Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_collect_would_make_of_the_same_items() {
        for items in [vec![], vec![3, 1, 2, 3, 1], vec![9, 8, 7]] {
            let pairs = || items.iter().enumerate().map(|(at, item)| (*item, at));
            assert_eq!(pairs().gather::<BTreeMap<_, _>>(), pairs().collect());
            assert_eq!(items.iter().gather::<BTreeSet<_>>(), items.iter().collect());
            for limit in [1, 5, 10] {
                let some = || items.iter().map(|it| (*it < limit).then_some(*it));
                assert_eq!(some().gather::<Option<BTreeSet<_>>>(), some().collect());
                let results = || items.iter().map(|it| if *it < limit { Ok(it) } else { Err(it) });
                assert_eq!(results().gather::<Result<BTreeSet<_>, _>>(), results().collect());
            }
        }
    }
}
