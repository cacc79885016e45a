//! Work shared among threads, its results taken in order.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, PoisonError, mpsc},
    thread,
};

use super::error::DataError;

/// Results that may wait for an earlier one, per thread.
const AHEAD: usize = 4;
/// Most threads.
const MAX_WORKERS: usize = 256;

/// Number of threads that read files: one per core.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

#[derive(Default)]
struct Turn {
    /// The next item that a thread takes on.
    next: usize,
    /// Results taken.
    taken: usize,
    over: bool,
}

/// Does `work` for each item on `workers` threads, and hands the results to `take` on the caller's, in order.
///
/// Ends early with the error of `take`, and with [`DataError::Panicked`] where `work` panics. At most [`AHEAD`] results per
/// thread are held.
pub(crate) fn in_order<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(usize, R) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let workers = workers.clamp(1, items.len().clamp(1, MAX_WORKERS));
    let turn = Mutex::new(Turn::default());
    let moved = Condvar::new();
    let lock = || turn.lock().unwrap_or_else(PoisonError::into_inner);
    let (sender, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..workers {
            let sender = sender.clone();
            let (lock, moved, work) = (&lock, &moved, &work);
            scope.spawn(move || {
                loop {
                    let mut turn = lock();
                    while !turn.over && turn.next >= turn.taken + AHEAD * workers {
                        turn = moved.wait(turn).unwrap_or_else(PoisonError::into_inner);
                    }
                    let index = turn.next;
                    let Some(item) = items.get(index).filter(|_| !turn.over) else {
                        return;
                    };
                    turn.next += 1;
                    drop(turn);
                    let result = catch_unwind(AssertUnwindSafe(|| work(item)));
                    let result = result.map_err(|panic| DataError::Panicked {
                        index,
                        message: last_words(&*panic),
                    });
                    if sender.send((index, result)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut outcome = Ok(());
        let mut next = 0;
        while next < items.len() && outcome.is_ok() {
            // The threads send as long as there are items.
            let Ok((index, result)) = results.recv() else {
                break;
            };
            early.insert(index, result);
            while let Some(result) = early.remove(&next) {
                outcome = result.and_then(|result| take(next, result));
                next += 1;
                lock().taken = next;
                moved.notify_all();
                if outcome.is_err() {
                    break;
                }
            }
        }
        lock().over = true;
        moved.notify_all();
        outcome
    })
}

/// What a thread said when it panicked.
pub(super) fn last_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_number_of_threads() {
        let items: Vec<u64> = (0..200).collect();
        for workers in [1, 2, 7] {
            let mut taken = Vec::new();
            let slow = |&item: &u64| {
                thread::sleep(std::time::Duration::from_micros(item * 37 % 100));
                item * 2
            };
            in_order(&items, workers, slow, |index, result| {
                assert_eq!(result, 2 * index as u64);
                taken.push(index);
                Ok(())
            })
            .expect("no error");
            assert_eq!(taken.len(), 200);
        }
    }

    #[test]
    fn an_error_ends_it_and_its_threads() {
        let items: Vec<u64> = (0..1000).collect();
        let error = in_order(
            &items,
            3,
            |&item| item,
            |index, _| match index {
                5 => Err(DataError::Interrupted),
                _ => Ok(()),
            },
        );
        assert!(matches!(error, Err(DataError::Interrupted)));
        let panics = |&item: &u64| match item {
            7 => panic!("seven"),
            item => item,
        };
        let error = in_order(&items, usize::MAX, panics, |_, _| Ok(()));
        let seven =
            matches!(&error, Err(DataError::Panicked { index: 7, message }) if message == "seven");
        assert!(seven, "{error:?}");
        in_order(&[] as &[u64], 3, |&item| item, |_, _| Ok(())).expect("nothing to do");
    }
}
