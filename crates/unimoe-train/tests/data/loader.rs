use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use unimoe_train::{DataError, Dataset, Loader, OrderConfig, Position};

use crate::order::{Numbers, batches};

/// Numbers that take their time, some of which fail.
struct Slow {
    count: usize,
    loaded: AtomicUsize,
    bad: Option<usize>,
    panics: bool,
}

impl Slow {
    fn new(count: usize) -> Self {
        Self {
            count,
            loaded: AtomicUsize::new(0),
            bad: None,
            panics: false,
        }
    }
}

impl Dataset for Slow {
    type Item = usize;

    fn len(&self) -> usize {
        self.count
    }

    fn length(&self, index: usize) -> usize {
        index % 7
    }

    fn get(&self, index: usize) -> Result<usize, DataError> {
        thread::sleep(Duration::from_micros(index as u64 * 53 % 200));
        self.loaded.fetch_add(1, Ordering::Relaxed);
        match self.bad {
            Some(bad) if bad == index && self.panics => panic!("item {index} is cursed"),
            Some(bad) if bad == index => Err(DataError::Item {
                id: index.to_string(),
                source: "bad".into(),
            }),
            _ => Ok(index),
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_what_comes() {
    let order = OrderConfig::new(8, 11);
    let load = |workers| {
        let set = Arc::new(Slow::new(100));
        let mut loader = Loader::new(set, order.clone(), Position::default(), workers).unwrap();
        let mut next = || {
            loader
                .next_batch()
                .map(|batch| (batch.items, batch.after))
                .unwrap()
        };
        (0..40).map(|_| next()).collect::<Vec<_>>()
    };
    let alone = load(0);
    for workers in [1, 2, 5] {
        assert_eq!(load(workers), alone, "{workers} workers");
    }
}

#[test]
fn a_position_and_threads_give_the_rest() {
    let set = Numbers::new(60);
    let order = OrderConfig::new(7, 2);
    let whole = batches(&set, &order, Position::default(), 25);
    let mut loader = Loader::new(set, order, whole[10].1, 3).unwrap();
    for expected in &whole[11..] {
        let batch = loader.next_batch().unwrap();
        assert_eq!((batch.items, batch.after), *expected);
    }
}

#[test]
fn an_item_that_fails_is_an_error_and_the_next_batch_comes() {
    for panics in [false, true] {
        for workers in [0, 2] {
            let set = Slow {
                bad: Some(5),
                panics,
                ..Slow::new(12)
            };
            let order = OrderConfig::sequential(4);
            let mut loader =
                Loader::new(Arc::new(set), order, Position::default(), workers).unwrap();
            assert_eq!(loader.next_batch().unwrap().items, [0, 1, 2, 3]);
            match loader.next_batch() {
                Err(DataError::Item { id, .. }) if !panics => assert_eq!(id, "5"),
                Err(DataError::Panicked { index: 5, message }) if panics => {
                    assert_eq!(message, "item 5 is cursed");
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(loader.next_batch().unwrap().items, [8, 9, 10, 11]);
        }
    }
}

#[test]
fn threads_load_ahead_but_not_without_end_and_end_with_the_loader() {
    let set = Arc::new(Slow::new(1000));
    let weak: Weak<Slow> = Arc::downgrade(&set);
    let mut loader =
        Loader::new(set.clone(), OrderConfig::new(10, 1), Position::default(), 2).unwrap();
    loader.next_batch().unwrap();
    let patience = || thread::sleep(Duration::from_millis(1));
    for _ in 0..10_000 {
        if set.loaded.load(Ordering::Relaxed) == 50 {
            break;
        }
        patience();
    }
    thread::sleep(Duration::from_millis(20));
    // The batch that was taken, and four ahead of the next call.
    assert_eq!(set.loaded.load(Ordering::Relaxed), 50);
    assert!(loader.next_batch().unwrap().waited < Duration::from_millis(500));
    drop(set);
    drop(loader);
    assert!(weak.upgrade().is_none(), "a thread still holds the data");
}

#[test]
fn too_many_threads_are_refused() {
    let set = Numbers::new(3);
    let loader = Loader::new(set, OrderConfig::new(1, 0), Position::default(), usize::MAX);
    assert!(matches!(loader, Err(DataError::Setting { .. })));
}
