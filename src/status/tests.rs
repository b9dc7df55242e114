use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;

/// Says its name, or hangs.
struct Says {
    text: &'static str,
    hangs: bool,
}

impl Actor for Says {
    type Context = Context<Self>;
}

impl Handler<Ask> for Says {
    type Result = ResponseFuture<Option<Facts>>;

    fn handle(&mut self, _: Ask, _: &mut Self::Context) -> Self::Result {
        let (text, hangs) = (self.text, self.hangs);
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Some(Facts {
                chart: "toy".to_owned(),
                instance: text.to_owned(),
                state: "here".to_owned(),
                ..Facts::default()
            })
        })
    }
}

fn part(text: &'static str, hangs: bool) -> Addr<Says> {
    let part = Says { text, hangs }.start();
    announce("toy", text, &part);
    part
}

fn within<T>(test: impl Future<Output = T>) -> T {
    System::new().block_on(test)
}

fn directory(dir: &tempfile::TempDir) -> Vec<PathBuf> {
    vec![dir.path().join("run")]
}

/// All parts that are there are told of, also one that hangs; one that is gone is not, and is not kept by having been
/// announced.
#[test]
fn a_process_tells_of_all_its_parts() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let places = directory(&dir);
        let _desk = Desk::open("toy", &places).unwrap();
        let (_one, _two, three) = (part("one", false), part("two", true), part("three", false));
        let gone = three.downgrade();
        drop(three);
        while gone.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
        said("all is well");
        let [answer] = &ask(&places).await[..] else {
            panic!("one was expected")
        };
        let told = answer.told.as_ref().unwrap();
        assert_eq!(answer.pid, std::process::id() as i32);
        assert_eq!((told.pid, told.command.as_str()), (answer.pid, "toy"));
        let parts: Vec<_> = told.parts.iter().collect();
        let shown: Vec<_> = parts
            .iter()
            .map(|part| (part.instance.as_str(), part.state.as_str()))
            .collect();
        assert_eq!(shown, [("one", "here"), ("two", "")]);
        assert_eq!(told.said.as_ref().unwrap().text, "all is well");
    });
}

/// However many come and go, only few that are gone are remembered; and who has too many is asked for some, and counts the others.
#[test]
fn what_is_gone_is_forgotten() {
    within(async {
        for _ in 0..100 {
            let few: Vec<_> = (0..100).map(|_| part("fleeting", false)).collect();
            drop(few);
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
        let remembered = BOARD.with_borrow(|board| board.parts.len());
        assert!(remembered <= 400, "{remembered}");
        let _many: Vec<_> = (0..MAX_PARTS + 3).map(|_| part("lasting", false)).collect();
        let (told, more) = parts().await;
        assert_eq!((told.len(), more), (MAX_PARTS, 3));
    });
}

/// A socket that nobody listens on is removed, and other files are not; one that listens is gone with its desk.
#[test]
fn a_stale_socket_is_removed() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let places = directory(&dir);
        let desk = Desk::open("toy", &places).unwrap();
        let stale = places[0].join("1.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
        let file = places[0].join("2.sock");
        std::fs::write(&file, "no socket").unwrap();
        assert_eq!(ask(&places).await.len(), 1);
        assert!(!stale.exists() && file.exists());
        drop(desk);
        assert!(ask(&places).await.is_empty());
        assert_eq!(std::fs::read_dir(&places[0]).unwrap().count(), 1);
    });
}

/// A process that has a socket and does not answer is named, within the time that it has.
#[test]
fn a_process_that_hangs_is_named() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let places = directory(&dir);
        let _desk = Desk::open("toy", &places).unwrap();
        let hangs = std::os::unix::net::UnixListener::bind(places[0].join("3.sock")).unwrap();
        let babbles = std::os::unix::net::UnixListener::bind(places[0].join("4.sock")).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = babbles.accept().unwrap();
            let _ = std::io::Write::write_all(&mut stream, b"hello");
        });
        let answers = ask(&places).await;
        let failed: Vec<_> = answers
            .iter()
            .filter_map(|answer| Some((answer.pid, *answer.told.as_ref().err()?)))
            .collect();
        assert_eq!(failed.len(), 2, "{failed:?}");
        assert!(failed[0].0 == 3 && failed[0].1.contains("does not answer"));
        assert!(failed[1].0 == 4 && failed[1].1.contains("no sense"));
        drop(hangs);
    });
}

/// A directory that others may look into is neither used nor believed; the next one does instead.
#[test]
fn a_directory_that_others_see_is_not_used() {
    within(async {
        let dir = tempfile::tempdir().unwrap();
        let (open, private) = (dir.path().join("open"), dir.path().join("a/b"));
        std::fs::create_dir(&open).unwrap();
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
        let linked = dir.path().join("linked");
        std::os::unix::fs::symlink(&open, &linked).unwrap();
        let places = [open.clone(), linked.clone(), private.clone()];
        let _desk = Desk::open("toy", &places).unwrap();
        assert_eq!(std::fs::read_dir(&open).unwrap().count(), 0);
        let mode = std::fs::metadata(&private).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(ask(&places).await.len(), 1);
        let error = Desk::open("toy", &[open]).unwrap_err().to_string();
        assert!(error.contains("for its owner alone"), "{error}");
    });
}
