//! Stopping between steps: Ctrl-C, and what a service manager sends.

use std::{
    fs,
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::error::CliError;

/// How long a step may go on after the first signal. Longer than writing any result takes.
const GRACE: Duration = Duration::from_secs(10);

/// Whether the user wants to stop. Cheap to clone and to ask.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    raised: AtomicBool,
    /// Empty folders to remove where the program has to end at once, outermost first.
    folders: Mutex<Vec<PathBuf>>,
}

impl Interrupt {
    /// Listens for Ctrl-C, termination and hang-up: the first asks the work to stop at its next step, a
    /// second one, or a step without end, stops the program.
    ///
    /// # Errors
    ///
    /// [`CliError::Work`] where the system allows no handler.
    pub fn listen() -> Result<Self, CliError> {
        Self::listen_for(Some(GRACE))
    }

    /// As [`listen`](Self::listen), but gives the work all the time that it wants to save what it has: only a second
    /// signal stops the program at once.
    ///
    /// # Errors
    ///
    /// [`CliError::Work`] where the system allows no handler.
    pub fn listen_patiently() -> Result<Self, CliError> {
        Self::listen_for(None)
    }

    fn listen_for(grace: Option<Duration>) -> Result<Self, CliError> {
        let interrupt = Self::default();
        let listener = interrupt.clone();
        ctrlc::set_handler(move || {
            if listener.is_raised() {
                listener.stop();
            }
            listener.raise();
            if let Some(grace) = grace {
                let timer = listener.clone();
                thread::spawn(move || {
                    thread::sleep(grace);
                    timer.stop();
                });
            }
        })
        .map_err(CliError::work("listen for Ctrl-C"))?;
        Ok(interrupt)
    }

    /// Asks the work to stop at its next step.
    pub fn raise(&self) {
        self.0.raised.store(true, Ordering::Relaxed);
    }

    /// What says that the work should stop, for libraries.
    pub fn flag(&self) -> &AtomicBool {
        &self.0.raised
    }

    /// Whether the work should stop.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Relaxed)
    }

    /// Ends the work here if it should stop.
    ///
    /// # Errors
    ///
    /// [`CliError::Interrupted`] once [`raise`](Self::raise) was called.
    pub fn check(&self) -> Result<(), CliError> {
        if self.is_raised() {
            Err(CliError::Interrupted)
        } else {
            Ok(())
        }
    }

    /// Has folders removed where the program has to end at once and they are empty; outermost first.
    pub fn remove_on_stop(&self, folders: &[PathBuf]) {
        let mut list = self
            .0
            .folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        list.extend_from_slice(folders);
    }

    fn stop(&self) -> ! {
        let folders = self
            .0
            .folders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for folder in folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
        eprintln!("error: {}", CliError::Interrupted);
        process::exit(CliError::Interrupted.code().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_hears_of_it() {
        let interrupt = Interrupt::default();
        let worker = interrupt.clone();
        worker.check().expect("not yet");
        interrupt.raise();
        assert!(worker.is_raised());
        assert_eq!(worker.check().expect_err("now").code(), 130);
    }
}
