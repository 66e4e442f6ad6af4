//! Thanos reads whenever it wants to.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use sd_agent::publish::{Disk, LiveFile};

use crate::writer::memory_folder;

const READS: usize = 100_000;
const WRITES: usize = 10_000;

/// A text that shows its number in every line, and by its length: a mix of two is neither.
fn text(number: usize) -> String {
    format!("{number:08}\n").repeat(1 + number % 50 * 10)
}

fn is_whole(text: &str) -> bool {
    let first = text.lines().next().and_then(|line| line.parse::<usize>().ok());
    first.is_some_and(|number| self::text(number) == text)
}

/// Case 41.
#[test]
fn readers_see_only_whole_files_however_often_the_file_is_replaced() {
    let folder = memory_folder();
    let path = folder.path().join("endpoints.yaml");
    let mut live = LiveFile::new(Arc::new(Disk), path.clone());
    live.publish(text(0).as_bytes()).expect("written");
    let (reads, bad, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let is_good = fs::read_to_string(&path).is_ok_and(|text| is_whole(&text));
                    bad.fetch_add(usize::from(!is_good), Ordering::Relaxed);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut writes = 0;
        while writes < WRITES || reads.load(Ordering::Relaxed) < READS {
            writes += 1;
            live.publish(text(writes).as_bytes()).expect("written");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert_eq!(bad.into_inner(), 0, "of {} reads", reads.into_inner());
}
