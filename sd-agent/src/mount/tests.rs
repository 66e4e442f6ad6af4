//! The source, look by look, with a clock that stands still.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

use jiff::Timestamp;
use rustix::io::Errno;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, advance};

use super::{
    watch::{Events, ReadFlags},
    *,
};
use crate::{
    document::{Document, Endpoint},
    payload::{DOCUMENT_KEY, META_KEY},
};

const POLL: Duration = Duration::from_secs(2);

/// Watches that can be made or not, and never tell anything.
#[derive(Debug, Default)]
struct Silent {
    made: AtomicUsize,
    refused: AtomicUsize,
    refuse: std::sync::Mutex<Option<Errno>>,
}

#[derive(Debug)]
struct Nothing;

impl WatchFolder for Silent {
    fn watch(&self, _: &Path) -> std::io::Result<Box<dyn Events>> {
        match *self.refuse.lock().expect("not poisoned") {
            Some(errno) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(errno.into())
            }
            None => {
                self.made.fetch_add(1, Ordering::Relaxed);
                Ok(Box::new(Nothing))
            }
        }
    }
}

impl Events for Nothing {
    fn poll_events(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<ReadFlags>> {
        Poll::Pending
    }
}

/// A mount and the source that follows it.
struct Scene {
    folder: TempDir,
    watching: Arc<Silent>,
    source: MountSource,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let report =
            json!({"thanosVersion": "unknown", "flagged": [], "api": {"up": false}, "mount": {"up": false}});
        let board = Arc::new(Board::new(serde_json::from_value(report).expect("a report")));
        let (exchange, watching) = (Arc::new(Exchange::new(false, true)), Arc::new(Silent::default()));
        let path = folder.path().join("mount");
        let source = MountSource::new(path, POLL, watching.clone(), exchange, board);
        Self { folder, watching, source }
    }

    /// A scene in which generation 1 was read.
    fn begun() -> Self {
        let mut scene = Self::new();
        scene.fill("..1", &payload(1));
        scene.turn("..1");
        assert_eq!(scene.source.look(), POLL);
        assert_eq!(scene.left(), Some(1));
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("mount").join(name)
    }

    fn fill(&self, name: &str, payload: &Payload) {
        fs::create_dir_all(self.path(name)).expect("made");
        for (key, text) in &payload.data {
            self.write(name, key, text);
        }
    }

    fn write(&self, name: &str, key: &str, text: &str) {
        fs::write(self.path(name).join(key), text).expect("written");
    }

    fn turn(&self, name: &str) {
        symlink(name, self.path("..data_tmp")).expect("linked");
        fs::rename(self.path("..data_tmp"), self.path("..data")).expect("renamed");
    }

    /// The generation that was left for the main loop since the last time.
    fn left(&self) -> Option<u64> {
        let payload = self.source.exchange.look(|slots| slots.mount.take())?;
        Some(payload.meta().expect("readable").generation)
    }

    fn health(&self) -> Health {
        self.source.exchange.look(|slots| slots.mount_health.clone())
    }

    /// Looks as often as the source asks for, until the patience with what is there is over.
    async fn wait_in_vain(&mut self) {
        let begun = Instant::now();
        loop {
            let next = self.source.look();
            if next == POLL {
                break;
            }
            advance(next).await;
        }
        assert_eq!(begun.elapsed(), POLL);
    }
}

fn payload(generation: u64) -> Payload {
    let address = format!("store-{generation}.demo.svc:10901").parse().expect("an address");
    let document = Document::new(vec![Endpoint::regular(address)]).expect("valid");
    Payload::pack(&document, "owner", generation, Timestamp::UNIX_EPOCH).expect("fits")
}

/// What the copy of the volume does next.
type Step = Box<dyn Fn(&Scene)>;

/// Case 9.
#[tokio::test(start_paused = true)]
async fn a_link_that_moves_before_the_content_exists_is_waited_for_at_every_step() {
    let mut scene = Scene::begun();
    let new = payload(2);
    let (meta, document) = (&new.data[META_KEY], &new.data[DOCUMENT_KEY]);
    scene.turn("..2");
    let mut steps: Vec<Step> = vec![Box::new(|scene| {
        fs::create_dir(scene.path("..2")).expect("made");
    })];
    // The document first, or the envelope first; each in two parts.
    for (key, text) in [(META_KEY, meta), (DOCUMENT_KEY, document)] {
        for end in [0, text.len() / 2, text.len()] {
            let part = text[..end].to_owned();
            steps.push(Box::new(move |scene| scene.write("..2", key, &part)));
        }
    }
    for step in steps {
        let wait = scene.source.look();
        assert!(wait < POLL, "{wait:?}");
        assert_eq!((scene.left(), scene.health()), (None, Health::Up));
        step(&scene);
    }
    assert_eq!(scene.source.look(), POLL);
    assert_eq!((scene.left(), scene.health()), (Some(2), Health::Up));
}

/// Case 9, the other way round.
#[tokio::test(start_paused = true)]
async fn a_document_without_its_envelope_is_waited_for() {
    let mut scene = Scene::begun();
    let new = payload(2);
    scene.turn("..2");
    fs::create_dir(scene.path("..2")).expect("made");
    scene.write("..2", DOCUMENT_KEY, &new.data[DOCUMENT_KEY]);
    assert!(scene.source.look() < POLL);
    assert_eq!((scene.left(), scene.health()), (None, Health::Up));
    scene.write("..2", META_KEY, &new.data[META_KEY]);
    scene.source.look();
    assert_eq!(scene.left(), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_never_comes_is_told_after_a_while_and_taken_when_it_comes_at_last() {
    let mut scene = Scene::begun();
    scene.turn("..2");
    scene.wait_in_vain().await;
    assert!(scene.health().error().expect("down").contains("..2 is missing"), "{:?}", scene.health());
    assert_eq!(scene.left(), None);
    scene.fill("..2", &payload(2));
    scene.source.look();
    assert_eq!((scene.left(), scene.health()), (Some(2), Health::Up));
}

#[tokio::test(start_paused = true)]
async fn a_document_that_stays_torn_is_handed_over_once_and_taken_when_it_is_whole_at_last() {
    let mut scene = Scene::begun();
    scene.turn("..2");
    scene.fill("..2", &payload(2));
    scene.write("..2", DOCUMENT_KEY, "{");
    scene.wait_in_vain().await;
    // The main loop refuses it, and counts that; the same again would be counted again.
    assert_eq!(scene.left(), Some(2));
    for _ in 0..3 {
        assert_eq!(scene.source.look(), POLL);
        assert_eq!(scene.left(), None);
        advance(POLL).await;
    }
    scene.fill("..2", &payload(2));
    scene.source.look();
    assert_eq!(scene.left(), Some(2));
}

/// Case 45: an optional ConfigMap that was deleted.
#[tokio::test(start_paused = true)]
async fn a_config_map_that_is_really_empty_is_absent_after_a_while() {
    let mut scene = Scene::begun();
    fs::create_dir(scene.path("..2")).expect("made");
    scene.turn("..2");
    assert!(scene.source.look() < POLL);
    assert_eq!(scene.health(), Health::Up);
    scene.wait_in_vain().await;
    assert!(matches!(scene.health(), Health::Absent { .. }), "{:?}", scene.health());
    assert_eq!(scene.left(), None);
    scene.fill("..3", &payload(3));
    scene.turn("..3");
    scene.source.look();
    assert_eq!((scene.left(), scene.health()), (Some(3), Health::Up));
}

/// Case 10: at once, for nothing will change.
#[tokio::test(start_paused = true)]
async fn a_sub_path_is_told_at_the_first_look() {
    for is_file in [true, false] {
        let mut scene = Scene::new();
        if is_file {
            fs::write(scene.folder.path().join("mount"), "{}").expect("written");
        } else {
            fs::create_dir(scene.folder.path().join("mount")).expect("made");
            fs::write(scene.path(META_KEY), "{}").expect("written");
        }
        assert_eq!(scene.source.look(), POLL);
        let health = scene.health();
        assert!(health.error().expect("down").contains("remove subPath"), "{health:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_read_again_only_when_the_link_or_the_folder_is_another() {
    let mut scene = Scene::begun();
    scene.source.look();
    assert_eq!(scene.left(), None);
    scene.fill("..2", &payload(2));
    scene.turn("..2");
    scene.source.look();
    assert_eq!(scene.left(), Some(2));
    // Another mount, in which the link happens to say the same.
    fs::rename(scene.folder.path().join("mount"), scene.folder.path().join("before")).expect("renamed");
    scene.fill("..2", &payload(3));
    scene.turn("..2");
    scene.source.look();
    assert_eq!(scene.left(), Some(3));
    assert_eq!(scene.watching.made.load(Ordering::Relaxed), 2, "the watch is on the new folder");
    scene.source.forget();
    scene.source.look();
    assert_eq!(scene.left(), Some(3));
}

/// Case 4: no instance left, no watch left, no inotify at all.
#[tokio::test(start_paused = true)]
async fn a_watch_that_cannot_be_made_is_told_and_tried_again_later() {
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOSPC, Errno::NOMEM, Errno::NOSYS] {
        let mut scene = Scene::new();
        *scene.watching.refuse.lock().expect("not poisoned") = Some(errno);
        scene.fill("..1", &payload(1));
        scene.turn("..1");
        let degraded = scene.source.board.metrics.inotify_degraded.clone();
        assert_eq!(scene.source.look(), POLL);
        assert_eq!((scene.left(), degraded.get()), (Some(1), 1), "{errno}");
        // The polls go on, and not each of them tries again.
        for generation in 2..=POLLS_PER_WATCH {
            advance(POLL).await;
            let name = format!("..{generation}");
            scene.fill(&name, &payload(generation.into()));
            scene.turn(&name);
            scene.source.look();
            assert_eq!(scene.left(), Some(generation.into()));
        }
        assert_eq!(scene.watching.refused.load(Ordering::Relaxed), 1);
        *scene.watching.refuse.lock().expect("not poisoned") = None;
        advance(POLL).await;
        scene.source.look();
        assert_eq!((scene.watching.made.load(Ordering::Relaxed), degraded.get()), (1, 0));
    }
}

/// Case 44: what comes after the wipe is watched and read anew.
#[tokio::test(start_paused = true)]
async fn a_mount_that_is_gone_is_read_and_watched_again_when_it_is_back() {
    let mut scene = Scene::begun();
    let metrics = scene.source.board.metrics.clone();
    fs::remove_dir_all(scene.folder.path().join("mount")).expect("removed");
    assert_eq!(scene.source.look(), POLL);
    assert!(matches!(scene.health(), Health::Down { .. }));
    assert_eq!(metrics.inotify_degraded.get(), 1);
    scene.fill("..1", &payload(2));
    scene.turn("..1");
    scene.source.look();
    assert_eq!((scene.left(), scene.health()), (Some(2), Health::Up));
    assert_eq!((metrics.inotify_degraded.get(), scene.watching.made.load(Ordering::Relaxed)), (0, 2));
}

/// Runs the source beside `meanwhile`, which begins after the first look. Returns what was left, and after how long.
async fn run_beside(scene: Scene, meanwhile: impl AsyncFnOnce(&Path)) -> (Option<u64>, Duration) {
    let Scene { folder, source, .. } = scene;
    let exchange = Arc::clone(&source.exchange);
    // That of the beginning.
    exchange.news().await;
    let begun = Instant::now();
    let work = async {
        sleep(Duration::from_millis(1)).await;
        meanwhile(&folder.path().join("mount")).await;
        exchange.news().await;
    };
    tokio::select! {
        () = source.run() => unreachable!("it never ends"),
        () = work => {}
    }
    let left = exchange.look(|slots| slots.mount.take());
    (left.map(|payload| payload.meta().expect("readable").generation), begun.elapsed())
}

/// Case 3, by polling, on a clock that only moves when the source waits.
#[tokio::test(start_paused = true)]
async fn a_swap_that_nobody_tells_of_is_found_within_one_poll() {
    let scene = Scene::begun();
    scene.fill("..2", &payload(2));
    let (left, after) = run_beside(scene, async |mount: &Path| {
        symlink("..2", mount.join("..data_tmp")).expect("linked");
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("renamed");
    })
    .await;
    assert_eq!(left, Some(2));
    assert!(after <= POLL + Duration::from_millis(5), "{after:?}");
}

/// Case 9: the retries are close enough.
#[tokio::test(start_paused = true)]
async fn content_that_follows_its_link_is_found_without_waiting_for_the_next_poll() {
    let scene = Scene::begun();
    scene.turn("..2");
    let late = Duration::from_millis(300);
    let (left, after) = run_beside(scene, async |mount: &Path| {
        sleep(late).await;
        fs::create_dir(mount.join("..2")).expect("made");
        for (key, text) in payload(2).data {
            fs::write(mount.join("..2").join(key), text).expect("written");
        }
    })
    .await;
    assert_eq!(left, Some(2));
    assert!(after < late * 2, "{after:?}");
}
