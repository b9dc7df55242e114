#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const KEY: Digest = Digest([7; 32]);

/// A directory, and a keeper of files in it.
fn partials(limit: u64) -> (tempfile::TempDir, Partials) {
    let dir = tempfile::tempdir().unwrap();
    let partials = Partials::new(dir.path().join("partial"), limit);
    (dir, partials)
}

/// Writes and checks a piece.
fn add(partial: &mut Partial, bytes: &[u8]) {
    partial.write(bytes).unwrap();
    let digest = partial.digest();
    assert!(partial.check(digest).unwrap());
}

fn digest(bytes: &[u8]) -> Digest {
    Digest(*blake3::hash(bytes).as_bytes())
}

fn files(partials: &Partials) -> usize {
    fs::read_dir(&partials.dir).map_or(0, Iterator::count)
}

#[test]
fn what_was_checked_is_there_again_and_nothing_else() {
    let (dir, partials) = partials(u64::MAX);
    let mut partial = partials.open(Some(&KEY)).unwrap();
    assert_eq!(partial.have(), 0);
    add(&mut partial, b"one");
    add(&mut partial, b"two");
    partial.write(b"not checked").unwrap();
    drop(partial);

    let mut partial = partials.open(Some(&KEY)).unwrap();
    assert_eq!((partial.have(), partial.digest()), (6, digest(b"onetwo")));
    add(&mut partial, b"three");
    let dest = dir.path().join("whole");
    partial.persist(&dest).unwrap();
    assert_eq!(fs::read(&dest).unwrap(), b"onetwothree");
    assert!(!partials.dir.exists(), "what is empty goes");
}

#[test]
fn what_was_not_checked_leaves_nothing() {
    let (_dir, partials) = partials(u64::MAX);
    let mut partial = partials.open(Some(&KEY)).unwrap();
    partial.write(b"x").unwrap();
    assert!(!partial.check(digest(b"y")).unwrap());
    drop(partial);
    assert_eq!(files(&partials), 0);
    let mut unkept = partials.open(None).unwrap();
    add(&mut unkept, b"x");
    drop(unkept);
    assert_eq!(files(&partials), 0);
}

#[test]
fn somebody_else_does_not_get_at_it_meanwhile() {
    let (_dir, partials) = partials(u64::MAX);
    let mut first = partials.open(Some(&KEY)).unwrap();
    add(&mut first, b"x");
    let mut second = partials.open(Some(&KEY)).unwrap();
    assert_eq!(second.have(), 0);
    add(&mut second, b"another");
    drop(second);
    drop(first);
    assert_eq!(partials.open(Some(&KEY)).unwrap().have(), 1);
}

#[test]
fn a_file_that_is_there_already_is_not_replaced() {
    let (dir, partials) = partials(u64::MAX);
    let dest = dir.path().join("whole");
    fs::write(&dest, "mine").unwrap();
    let mut partial = partials.open(Some(&KEY)).unwrap();
    add(&mut partial, b"x");
    let error = partial.persist(&dest).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&dest).unwrap(), b"mine");
}

#[test]
fn the_oldest_go_when_there_are_too_many_or_too_much() {
    let (_dir, partials) = partials(40);
    let key = |number: u8| Digest([number; 32]);
    let old = SystemTime::now() - Duration::from_secs(3600);
    for number in 0..6_u8 {
        let mut partial = partials.open(Some(&key(number))).unwrap();
        add(&mut partial, &[number; 10]);
        let age = Duration::from_secs(u64::from(number));
        partial.file.set_modified(old + age).unwrap();
    }
    let have = |number| partials.open(Some(&key(number))).unwrap().have();
    assert_eq!([have(5), have(4), have(3)], [10; 3]);
    assert_eq!([have(0), have(1)], [0; 2]);

    let partials = Partials::new(partials.dir.clone(), u64::MAX);
    let path = partials.dir.join(key(5).to_string());
    let long_ago = SystemTime::now() - KEPT - Duration::from_secs(1);
    open(&path).unwrap().set_modified(long_ago).unwrap();
    drop(partials.open(Some(&key(9))).unwrap());
    assert_eq!(partials.open(Some(&key(5))).unwrap().have(), 0);
}

proptest! {
    /// Whatever becomes of the two files on disk, what is found is a beginning of what was sent, and what was checked
    /// before the first damage is found.
    #[test]
    fn damage_costs_what_lies_behind_it(
        sizes in proptest::collection::vec(1..200usize, 1..8),
        cut in 0..1600usize,
        flip in proptest::option::of(0..1600usize),
        checks_flip in proptest::option::of(0..400usize),
        checks_cut in proptest::option::of(0..400usize),
    ) {
        let (_dir, partials) = partials(u64::MAX);
        let mut partial = partials.open(Some(&KEY)).unwrap();
        let (mut whole, mut ends) = (Vec::new(), vec![0]);
        for (number, size) in sizes.into_iter().enumerate() {
            let piece = vec![number as u8; size];
            add(&mut partial, &piece);
            whole.extend(piece);
            ends.push(whole.len());
        }
        drop(partial);
        let path = partials.dir.join(KEY.to_string());
        let damage = |path: &Path, cut: Option<usize>, flip: Option<usize>| {
            let mut bytes = fs::read(path).unwrap();
            bytes.truncate(cut.unwrap_or(usize::MAX));
            let flip = flip.filter(|at| *at < bytes.len());
            if let Some(at) = flip {
                bytes[at] ^= 1;
            }
            fs::write(path, &bytes).unwrap();
            flip.unwrap_or(bytes.len()).min(bytes.len())
        };
        let good = damage(&path, Some(cut), flip);
        let checks = damage(&path.with_extension(CHECKS), checks_cut, checks_flip) / CHECK;
        let partial = partials.open(Some(&KEY)).unwrap();
        let expected = ends.iter().take(checks + 1).filter(|end| **end <= good).max().unwrap();
        prop_assert_eq!(partial.have() as usize, *expected);
        prop_assert_eq!(partial.digest(), digest(&whole[..*expected]));
        prop_assert_eq!(partial.file.metadata().unwrap().len() as usize, *expected);
    }
}

/// What somebody left who was killed goes after a day, also where no further file comes; what is younger may be in use.
#[test]
fn what_was_left_behind_goes_after_a_day() {
    let (_dir, partials) = partials(u64::MAX);
    fs::create_dir(&partials.dir).unwrap();
    let kept = KEY.to_string();
    let orphan = format!("{}.{CHECKS}", Digest([8; 32]));
    let names = [".abc.part", &kept, &format!("{kept}.{CHECKS}"), &orphan];
    let make = |age: Duration| {
        for name in names {
            let file = File::create(partials.dir.join(name)).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
        }
    };
    make(KEPT - Duration::from_secs(3600));
    partials.tidy();
    assert_eq!(files(&partials), names.len());
    make(KEPT + Duration::from_secs(3600));
    // Checks say something for as long as their file is there.
    File::options()
        .append(true)
        .open(partials.dir.join(&kept))
        .unwrap()
        .set_modified(SystemTime::now())
        .unwrap();
    partials.tidy();
    assert_eq!(files(&partials), 2);
    make(KEPT + Duration::from_secs(3600));
    partials.tidy();
    assert!(!partials.dir.exists());
}

/// The clock on the wall is set, by ten years in either direction: what was kept before stays, and so does what is kept
/// after; a day of both clocks is what makes a file old.
#[test]
fn a_clock_that_is_set_makes_nothing_old() {
    let (_dir, partials) = partials(u64::MAX);
    let (_, began) = partials.since;
    let years = Duration::from_secs(10 * 365 * 24 * 3600);
    let hour = Duration::from_secs(3600);
    for now in [began + years, began - years] {
        for modified in [began - hour, began, now, now - hour] {
            assert!(!partials.is_old(modified, now), "{modified:?} at {now:?}");
        }
    }
    assert!(partials.is_old(began - KEPT - hour, began + hour));
    assert!(!partials.is_old(began - KEPT + hour, began));
    let _ = partials.is_old(SystemTime::UNIX_EPOCH - years, began + 100 * years);
}
