//! The watch of the mounted folder: a hint to look, never what is relied on.
//!
//! The *folder* is watched, because a watch on a file is dead after the first swap. Inotify is used as it is, within
//! the agent's one task: a library with a thread of its own could not start it where the pod may have no more, and
//! would take the agent down.

use std::{
    fmt::Debug,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    path::Path,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    fd::OwnedFd,
    fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init},
};
use tokio::{io::unix::AsyncFd, time::Instant};

pub use rustix::fs::inotify::ReadFlags;

use super::snapshot::FolderId;
use crate::log::{Grumble, chain};

/// How watches are made; tests bring their own.
pub trait WatchFolder: Debug + Send + Sync {
    /// Watches `folder` until the result is dropped.
    ///
    /// # Errors
    /// When there is no inotify, or none left for this user.
    fn watch(&self, folder: &Path) -> io::Result<Box<dyn Events>>;
}

/// What a watch tells.
pub trait Events: Debug + Send {
    /// What happened since the last time, all in one. An error ends the watch.
    fn poll_events(&mut self, context: &mut Context<'_>) -> Poll<io::Result<ReadFlags>>;
}

/// Watches by inotify.
#[derive(Debug)]
pub struct Inotify;

#[derive(Debug)]
struct InotifyEvents(AsyncFd<OwnedFd>);

/// A watch that is made again as often as needed.
#[derive(Debug)]
pub struct Watch {
    how: Arc<dyn WatchFolder>,
    again_after: Duration,
    state: State,
    grumble: Grumble,
}

#[derive(Debug)]
enum State {
    /// Not tried, or over.
    Off,
    On {
        folder: FolderId,
        events: Box<dyn Events>,
    },
    Failed {
        folder: FolderId,
        again_at: Instant,
    },
}

/// Why to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stirred {
    /// Something happened in the folder.
    Changed,
    /// Nobody knows what happened.
    Lost,
}

// === impl Inotify ===

impl WatchFolder for Inotify {
    fn watch(&self, folder: &Path) -> io::Result<Box<dyn Events>> {
        let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // Everything but reading, which the agent does itself.
        let flags = WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        add_watch(&inotify, folder, flags)?;
        // It is unsound only for a type that does not keep its descriptor; `OwnedFd` does. Its successor is unsafe.
        #[allow(deprecated)]
        let events = AsyncFd::new(inotify)?;
        Ok(Box::new(InotifyEvents(events)))
    }
}

// === impl InotifyEvents ===

impl Events for InotifyEvents {
    fn poll_events(&mut self, context: &mut Context<'_>) -> Poll<io::Result<ReadFlags>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            if let Ok(flags) = guard.try_io(|inotify| read(inotify.get_ref())) {
                return Poll::Ready(flags);
            }
        }
    }
}

/// One buffer full, so that a flood of events cannot hold the agent up.
fn read(inotify: &OwnedFd) -> io::Result<ReadFlags> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(inotify, &mut buffer);
    let mut flags = reader.next()?.events();
    while !reader.is_buffer_empty() {
        flags |= reader.next()?.events();
    }
    Ok(flags)
}

// === impl Watch ===

impl Watch {
    /// No watch yet; one that could not be made is tried again `again_after`.
    pub fn new(how: Arc<dyn WatchFolder>, again_after: Duration) -> Self {
        Self { how, again_after, state: State::Off, grumble: Grumble::default() }
    }

    /// Sees to it that `folder`, found at `path`, is what is watched. Returns whether it is.
    pub fn keep_on(&mut self, path: &Path, folder: FolderId) -> bool {
        match self.state {
            State::On { folder: watched, .. } if watched == folder => return true,
            State::Failed { folder: tried, again_at } if tried == folder && Instant::now() < again_at => {
                return false;
            }
            _ => {}
        }
        match self.how.watch(path) {
            Ok(events) => {
                if self.grumble.clear() {
                    tracing::info!(mount = %path.display(), "the mount is watched again");
                }
                self.state = State::On { folder, events };
                true
            }
            Err(error) => {
                let why = chain(&error);
                if self.grumble.is_news(&why) {
                    tracing::warn!(why, "cannot watch the mount (fs.inotify limits?), it is only polled");
                }
                self.state = State::Failed { folder, again_at: Instant::now() + self.again_after };
                false
            }
        }
    }

    /// There is nothing to watch.
    pub fn end(&mut self) {
        self.state = State::Off;
    }

    /// Returns when there is a reason to look; never without a watch.
    pub async fn stirred(&mut self) -> Stirred {
        let State::On { folder, events } = &mut self.state else { return std::future::pending().await };
        let folder = *folder;
        match poll_fn(|context| events.poll_events(context)).await {
            Ok(flags) if flags.intersects(ReadFlags::IGNORED | ReadFlags::UNMOUNT) => {
                // Of a folder that is gone; another may be in its place.
                self.state = State::Off;
                Stirred::Lost
            }
            Ok(flags) if flags.contains(ReadFlags::QUEUE_OVERFLOW) => Stirred::Lost,
            Ok(_) => Stirred::Changed,
            Err(error) => {
                tracing::debug!(error = chain(&error), "the watch of the mount broke");
                self.state = State::Failed { folder, again_at: Instant::now() + self.again_after };
                Stirred::Lost
            }
        }
    }
}
