//! Stopping between steps: Ctrl-C, and what a service manager sends.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::error::CliError;

/// Whether the user wants to stop. Cheap to clone and to ask.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens for Ctrl-C, termination and hang-up.
    ///
    /// # Errors
    ///
    /// [`CliError::Work`] where the system allows no handler.
    pub fn listen() -> Result<Self, CliError> {
        let interrupt = Self::default();
        let flag = interrupt.clone();
        ctrlc::set_handler(move || flag.raise()).map_err(CliError::work("listen for Ctrl-C"))?;
        Ok(interrupt)
    }

    /// Asks the work to stop at its next step.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the work should stop.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
