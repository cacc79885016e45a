//! Batches, loaded ahead by threads of their own.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    error::DataError,
    order::{Cursor, OrderConfig, Plan, Position},
    parallel::last_words,
};

/// Batches that are loaded ahead.
const AHEAD: usize = 3;
/// Most threads.
const MAX_WORKERS: usize = 256;

/// Items that can be loaded in any order.
pub trait Dataset: Send + Sync + 'static {
    /// What an item is.
    type Item: Send + 'static;

    /// Number of items.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Length of an item in tokens, by which similar ones come together.
    fn length(&self, index: usize) -> usize;

    /// Domain of an item, by which sampling is weighted.
    fn domain(&self, index: usize) -> &str {
        let _ = index;
        ""
    }

    /// Loads an item. Called by several threads at once.
    ///
    /// # Errors
    ///
    /// A [`DataError`] that says which item can't be loaded and why.
    fn get(&self, index: usize) -> Result<Self::Item, DataError>;
}

/// A batch.
#[derive(Debug, Clone)]
pub struct LoadedBatch<I> {
    /// Its items.
    pub items: Vec<I>,
    /// Where a run goes on behind it.
    pub after: Position,
    /// How long the caller had to wait for it.
    pub waited: Duration,
}

/// Gives batches without end, epoch after epoch; threads load the next ones meanwhile.
///
/// Which batches come depends on the settings and the position alone, not on the number of threads. Dropping it ends
/// the threads, once each is done with the item at hand.
pub struct Loader<D: Dataset> {
    shared: Arc<Shared<D>>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared<D: Dataset> {
    dataset: Arc<D>,
    state: Mutex<State<D::Item>>,
    /// There is something to load, or it is over.
    work: Condvar,
    /// An item was loaded.
    loaded: Condvar,
}

struct State<I> {
    cursor: Cursor,
    /// The next batches, in order.
    ahead: VecDeque<Pending<I>>,
    /// The error that ends the order of batches.
    broken: Option<DataError>,
    closed: bool,
}

/// A batch whose items are being loaded.
struct Pending<I> {
    number: u64,
    items: Vec<usize>,
    /// Items that a thread has taken on.
    taken: usize,
    loaded: Vec<Option<Result<I, DataError>>>,
    missing: usize,
    after: Position,
}

impl<D: Dataset> Loader<D> {
    /// Starts `workers` threads that load from `position` on; without any, items are loaded while the caller waits.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] where the settings make no batch or the position is not in the order, and
    /// [`DataError::EmptyDomain`] for a weight of a domain without items.
    pub fn new(
        dataset: Arc<D>,
        order: OrderConfig,
        position: Position,
        workers: usize,
    ) -> Result<Self, DataError> {
        if workers > MAX_WORKERS {
            let expected = format!("at most {MAX_WORKERS}");
            return Err(DataError::setting(
                "the number of workers",
                expected,
                workers,
            ));
        }
        let lengths = (0..dataset.len())
            .map(|index| dataset.length(index))
            .collect();
        let domains = (0..dataset.len()).map(|index| dataset.domain(index));
        let plan = Plan::new(order, lengths, domains)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                cursor: Cursor::new(Arc::new(plan), position)?,
                ahead: VecDeque::new(),
                broken: None,
                closed: false,
            }),
            dataset,
            work: Condvar::new(),
            loaded: Condvar::new(),
        });
        let mut loader = Self {
            shared,
            workers: Vec::new(),
        };
        for number in 0..workers {
            let shared = loader.shared.clone();
            let thread = thread::Builder::new()
                .name(format!("data-{number}"))
                .spawn(move || shared.serve())
                .map_err(DataError::io("start a thread for", "data"))?;
            loader.workers.push(thread);
        }
        Ok(loader)
    }

    /// The next batch.
    ///
    /// # Errors
    ///
    /// What [`Dataset::get`] says of the batch's first item that can't be loaded; [`DataError::Panicked`] where it
    /// panics. The call after that gives the next batch.
    pub fn next_batch(&mut self) -> Result<LoadedBatch<D::Item>, DataError> {
        let start = Instant::now();
        let mut state = self.shared.lock();
        state.fill(0);
        self.shared.work.notify_all();
        while state.ahead.front().is_some_and(|batch| batch.missing > 0) {
            state = match self.workers.is_empty() {
                true => match state.take_job() {
                    Some(job) => self.shared.load(state, job),
                    None => state,
                },
                false => wait(&self.shared.loaded, state),
            };
        }
        let Some(batch) = state.ahead.pop_front() else {
            return Err(state.broken.take().unwrap_or(DataError::Interrupted));
        };
        drop(state);
        self.shared.work.notify_all();
        let items = batch
            .loaded
            .into_iter()
            .flatten()
            .collect::<Result<_, _>>()?;
        Ok(LoadedBatch {
            items,
            after: batch.after,
            waited: start.elapsed(),
        })
    }
}

impl<D: Dataset> Drop for Loader<D> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A thread that panicked has nothing more to say.
            let _ = worker.join();
        }
    }
}

/// An item to load: the batch's number, the place in it, the item.
#[derive(Clone, Copy)]
struct Job {
    batch: u64,
    place: usize,
    item: usize,
}

impl<I> State<I> {
    /// Plans batches until one is there and `ahead` more.
    fn fill(&mut self, ahead: usize) {
        while self.broken.is_none() && self.ahead.len() <= ahead {
            match self.cursor.advance() {
                Ok((items, after)) => {
                    let number = self.ahead.back().map_or(0, |last| last.number + 1);
                    self.ahead.push_back(Pending {
                        number,
                        taken: 0,
                        loaded: items.iter().map(|_| None).collect(),
                        missing: items.len(),
                        items,
                        after,
                    });
                }
                Err(error) => self.broken = Some(error),
            }
        }
    }

    fn take_job(&mut self) -> Option<Job> {
        let mut batches = self.ahead.iter_mut();
        let batch = batches.find(|batch| batch.taken < batch.items.len())?;
        let place = batch.taken;
        batch.taken += 1;
        Some(Job {
            batch: batch.number,
            place,
            item: batch.items[place],
        })
    }
}

impl<D: Dataset> Shared<D> {
    fn lock(&self) -> MutexGuard<'_, State<D::Item>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does until it is over.
    fn serve(&self) {
        let mut state = self.lock();
        while !state.closed {
            state.fill(AHEAD);
            state = match state.take_job() {
                Some(job) => self.load(state, job),
                None => wait(&self.work, state),
            };
        }
    }

    /// Loads an item while the state is free for others.
    fn load<'a>(
        &'a self,
        state: MutexGuard<'a, State<D::Item>>,
        job: Job,
    ) -> MutexGuard<'a, State<D::Item>> {
        drop(state);
        let get = AssertUnwindSafe(|| self.dataset.get(job.item));
        let item = catch_unwind(get).unwrap_or_else(|panic| {
            Err(DataError::Panicked {
                index: job.item,
                message: last_words(&*panic),
            })
        });
        let mut state = self.lock();
        let mut batches = state.ahead.iter_mut();
        if let Some(batch) = batches.find(|batch| batch.number == job.batch) {
            batch.loaded[job.place] = Some(item);
            batch.missing -= 1;
            if batch.missing == 0 {
                self.loaded.notify_all();
            }
        }
        state
    }
}

fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition
        .wait(guard)
        .unwrap_or_else(PoisonError::into_inner)
}
