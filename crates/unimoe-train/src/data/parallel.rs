//! Work shared among threads, its results taken in order.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, PoisonError, mpsc},
    thread,
};

use super::error::DataError;

/// Results that may wait for an earlier one, per thread.
const AHEAD: usize = 4;

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
/// Ends early with the error of `take`. At most [`AHEAD`] results per thread are held.
pub(crate) fn in_order<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(usize, R) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let workers = workers.clamp(1, items.len().max(1));
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
                    if sender.send((index, work(item))).is_err() {
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
            // The channel closes only where a thread panicked, which the scope then passes on.
            let Ok((index, result)) = results.recv() else {
                break;
            };
            early.insert(index, result);
            while let Some(result) = early.remove(&next) {
                outcome = take(next, result);
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
        in_order(&[] as &[u64], 3, |&item| item, |_, _| Ok(())).expect("nothing to do");
    }
}
