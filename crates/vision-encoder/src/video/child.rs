//! The program ffmpeg as a child: started without a shell, watched, and ended whatever happens to its reader.

use std::{
    ffi::OsString,
    io::{self, BufReader, ErrorKind},
    path::{Path, PathBuf},
    process::{ChildStderr, ChildStdout},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use ffmpeg_sidecar::{child::FfmpegChild, command::FfmpegCommand};

use super::log::Log;
use crate::FrameError;

/// How often a child that is about to end is looked at.
const PATIENCE: Duration = Duration::from_millis(2);

/// Longer than anybody waits, and short enough for the clock to count to.
const FOREVER: Duration = Duration::from_secs(366 * 24 * 3600);

/// A running child. Dropping it kills and reaps the process.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) stdout: BufReader<ChildStdout>,
    orders: Option<Sender<()>>,
    keeper: Option<JoinHandle<Ending>>,
    listener: Option<JoinHandle<Log>>,
    limit: Duration,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, Default)]
struct Ending {
    succeeded: bool,
    timed_out: bool,
}

/// What a child that ended in time has left.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) succeeded: bool,
    pub(super) log: Log,
}

impl Running {
    /// Starts `program`, which must be done within `limit` of `begun`.
    pub(super) fn start(
        program: &Path,
        arguments: Vec<OsString>,
        begun: Instant,
        limit: Duration,
    ) -> Result<Self, FrameError> {
        let deadline = begun + limit.min(FOREVER);
        let failed = |source: io::Error| match source.kind() {
            ErrorKind::NotFound => FrameError::FfmpegMissing {
                program: program.to_path_buf(),
            },
            _ => FrameError::FfmpegStart {
                program: program.to_path_buf(),
                source,
            },
        };
        let (orders, inbox) = mpsc::channel();
        let (pipes, started) = mpsc::channel();
        let path = program.to_path_buf();
        // One thread starts the child, waits for it and reaps it: on Linux the child dies with that thread.
        let keeper = thread::Builder::new()
            .name("ffmpeg keeper".into())
            .spawn(move || {
                let mut child = match spawn(&path, arguments) {
                    Ok((child, stdout, stderr)) => {
                        // A reader that is gone is noticed below.
                        let _ = pipes.send(Ok((stdout, stderr)));
                        child
                    }
                    Err(error) => {
                        let _ = pipes.send(Err(error));
                        return Ending::default();
                    }
                };
                let left = deadline.saturating_duration_since(Instant::now());
                let order = inbox.recv_timeout(left);
                keep(&mut child, order, deadline)
            })
            .map_err(failed)?;
        let received = started.recv().unwrap_or_else(|_| {
            let reason = "the thread that starts it ended";
            Err(io::Error::other(reason))
        });
        let (stdout, stderr) = received.map_err(failed)?;
        let listener = thread::Builder::new()
            .name("ffmpeg listener".into())
            .spawn(move || Log::read(stderr))
            .map_err(failed)?;
        Ok(Self {
            stdout: BufReader::with_capacity(1 << 16, stdout),
            orders: Some(orders),
            keeper: Some(keeper),
            listener: Some(listener),
            limit,
        })
    }

    /// Waits for the end of a child that has nothing more to say.
    pub(super) fn finish(&mut self) -> Result<Finished, FrameError> {
        if let Some(orders) = &self.orders {
            // The keeper may have ended already.
            let _ = orders.send(());
        }
        let ending = join(self.keeper.take()).unwrap_or_default();
        let log = join(self.listener.take()).unwrap_or_default();
        if ending.timed_out {
            return Err(FrameError::TimeLimit { limit: self.limit });
        }
        Ok(Finished {
            succeeded: ending.succeeded,
            log,
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without orders the keeper kills and reaps the child, which ends the listener.
        self.orders = None;
        join(self.keeper.take());
        join(self.listener.take());
    }
}

fn join<T>(thread: Option<JoinHandle<T>>) -> Option<T> {
    thread.and_then(|thread| thread.join().ok())
}

/// Waits for a child that was told to end or kills it, and reaps it.
fn keep(child: &mut FfmpegChild, order: Result<(), RecvTimeoutError>, deadline: Instant) -> Ending {
    let mut timed_out = matches!(order, Err(RecvTimeoutError::Timeout));
    while order.is_ok() {
        match child.as_inner_mut().try_wait() {
            Ok(Some(status)) => {
                return Ending {
                    succeeded: status.success(),
                    timed_out: false,
                };
            }
            Ok(None) if Instant::now() < deadline => thread::sleep(PATIENCE),
            Ok(None) => {
                timed_out = true;
                break;
            }
            Err(_) => break,
        }
    }
    // Either fails only where the child is gone.
    let _ = child.as_inner_mut().kill();
    let _ = child.as_inner_mut().wait();
    Ending {
        succeeded: false,
        timed_out,
    }
}

/// Starts the child with its pipes.
fn spawn(
    program: &PathBuf,
    arguments: Vec<OsString>,
) -> io::Result<(FfmpegChild, ChildStdout, ChildStderr)> {
    let mut command = FfmpegCommand::new_with_path(program);
    command.args(arguments);
    let inner = command.as_inner_mut();
    // It would write a file of its own.
    inner.env_remove("FFREPORT");
    inner.env("AV_LOG_FORCE_NOCOLOR", "1");
    // What is typed at the terminal to stop this program would have the child stop early as if all were well.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(inner, 0);
    #[cfg(target_os = "linux")]
    die_with_parent(inner);
    let mut child = command.spawn()?;
    // It is told not to read; an open pipe would only be one more thing to hold.
    drop(child.take_stdin());
    match (child.take_stdout(), child.take_stderr()) {
        (Some(stdout), Some(stderr)) => Ok((child, stdout, stderr)),
        _ => Err(io::Error::other("no pipes")),
    }
}

/// Has the kernel kill the child when its parent is gone, even by a signal that can't be caught.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn die_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;

    use rustix::process::{Signal, getppid, set_parent_process_death_signal};

    let parent = std::process::id();
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have ended before the line above.
        match getppid() {
            Some(pid) if pid.as_raw_pid().cast_unsigned() == parent => Ok(()),
            _ => Err(io::Error::from_raw_os_error(
                rustix::io::Errno::SRCH.raw_os_error(),
            )),
        }
    };
    // SAFETY: between fork and exec only calls that are safe in a signal handler are allowed. The closure makes two
    // system calls through rustix, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(prepare);
    }
}
