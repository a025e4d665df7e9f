//! Lets Ctrl-C, SIGTERM and SIGHUP end a command where nothing gets lost by it.
//!
//! With signal-hook, since tokio's own feature for it would compile the EC2 client once more
//! (Cargo.toml).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, iterator};
use tokio::sync::watch;

/// The signals that came.
#[derive(Clone, Debug)]
pub struct Signals {
    /// The last one, or 0: at once.
    came: Arc<AtomicUsize>,
    /// Wakes who waits for one: a little later.
    woken: watch::Receiver<bool>,
}

/// Somebody wants it to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// The signal that something was given up for, or 0.
static ENDED_BY: AtomicUsize = AtomicUsize::new(0);

/// The exit code of a command that a signal ended, as shells have it.
pub fn exit_code() -> Option<u8> {
    match ENDED_BY.load(Ordering::SeqCst) {
        0 => None,
        signal => u8::try_from(128 + signal).ok(),
    }
}

impl Signals {
    /// From now on signals end nothing but what waits for them here.
    ///
    /// # Errors
    ///
    /// As the system answers.
    pub fn caught() -> io::Result<Self> {
        let caught = [SIGINT, SIGTERM, SIGHUP];
        let came = Arc::new(AtomicUsize::new(0));
        for signal in caught {
            flag::register_usize(signal, Arc::clone(&came), usize::try_from(signal).unwrap_or(1))?;
        }
        let mut signals = iterator::Signals::new(caught)?;
        let (wake, woken) = watch::channel(false);
        thread::spawn(move || {
            for _ in signals.forever() {
                wake.send_replace(true);
            }
        });
        Ok(Self { came, woken })
    }

    /// What comes of some work, which is given up when a signal comes.
    ///
    /// # Errors
    ///
    /// If one came.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        let mut woken = self.woken.clone();
        tokio::select! {
            biased;
            Ok(_) = woken.wait_for(|it| *it) => Err(self.ended()),
            done = work => Ok(done),
        }
    }

    /// What comes of some work that is brought to its end, although a signal comes: a call of SQS,
    /// which is short.
    ///
    /// # Errors
    ///
    /// If one came meanwhile, or before.
    pub async fn after<T>(&self, work: impl Future<Output = T>) -> Result<T, Interrupted> {
        let done = work.await;
        match self.came.load(Ordering::SeqCst) {
            0 => Ok(done),
            _ => Err(self.ended()),
        }
    }

    fn ended(&self) -> Interrupted {
        ENDED_BY.store(self.came.load(Ordering::SeqCst), Ordering::SeqCst);
        Interrupted
    }
}
