//! The table of connections, without sockets.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Option<CloseCode>>>>);

impl Outlet for Told {
    fn send(&self, _: String) -> bool {
        true
    }
    fn close(&self, code: CloseCode) {
        self.0.lock().unwrap().push(Some(code));
    }
    fn postman(&self) -> Option<Arc<dyn super::super::engine::Sink>> {
        None
    }
    fn unseated(&self) {}
    fn resumed(&self) {
        self.0.lock().unwrap().push(None);
    }
}

fn entry(user: &str, device: &str) -> (Entry, Told) {
    let told = Told::default();
    let entry = Entry {
        outlet: Box::new(told.clone()),
        device: (!device.is_empty()).then(|| DeviceKey::new(user, device)),
        turned_away: false,
        seat: None,
        resumable: false,
        opened: 0.0,
        from: None,
        meter: Arc::default(),
    };
    (entry, told)
}

fn limits(sockets: usize, soft: usize, per_user: usize) -> HubLimits {
    HubLimits {
        sockets,
        sockets_soft: soft,
        connections_per_user: per_user,
        ..HubLimits::default()
    }
}

#[test]
fn the_newest_connection_of_a_device_wins_and_the_old_ones_end_harms_nothing() {
    let limits = limits(10, 10, 10);
    let mut table = Connections::default();
    let (first, told) = entry("u", "d");
    let old = table.open(first, &limits).unwrap();
    let new = table.open(entry("u", "d").0, &limits).unwrap();
    assert_eq!(*told.0.lock().unwrap(), [Some(CloseCode::Replaced)]);
    let key = DeviceKey::new("u", "d");
    assert_eq!(table.of_device(&key), Some(new));
    table.remove(old);
    assert_eq!(table.of_device(&key), Some(new));
    assert_eq!(table.of_user("u").collect::<Vec<_>>(), [new]);
    table.remove(new);
    assert!(table.is_empty());
}

#[test]
fn the_oldest_of_too_many_is_closed_before_the_new_one_is_announced() {
    let limits = limits(10, 10, 2);
    let mut table = Connections::default();
    let (first, told) = entry("u", "a");
    table.open(first, &limits).unwrap();
    let (second, second_told) = entry("u", "b");
    let b = table.open(second, &limits).unwrap();
    let c = table.open(entry("u", "c").0, &limits).unwrap();
    table.open(entry("v", "a").0, &limits).unwrap();
    assert_eq!(*told.0.lock().unwrap(), [Some(CloseCode::ConnectionLimit)]);
    assert!(second_told.0.lock().unwrap().is_empty());
    assert_eq!(table.of_user("u").collect::<Vec<_>>(), [b, c]);
}

#[test]
fn a_nearly_full_hub_lets_in_whom_it_knows_and_a_full_one_nobody() {
    let limits = limits(4, 2, 10);
    let mut table = Connections::default();
    let a = table.open(entry("u", "a").0, &limits).unwrap();
    table.open(entry("v", "a").0, &limits).unwrap();
    assert_eq!(table.open(entry("w", "a").0, &limits), Err(Full::Soft));
    table.open(entry("u", "b").0, &limits).unwrap();
    // A parked connection takes no socket, and its user is still known.
    table.park(a);
    assert_eq!(table.live(), 2);
    table.open(entry("u", "a").0, &limits).unwrap();
    // Whoever is only told why it may not come in is a stranger; a peer of a room says later who it is.
    let (mut turned_away, _) = entry("", "");
    turned_away.turned_away = true;
    assert_eq!(table.open(turned_away, &limits), Err(Full::Soft));
    table.open(entry("", "").0, &limits).unwrap();
    assert_eq!(table.open(entry("u", "a").0, &limits), Err(Full::Hard));
}

#[test]
fn a_parked_connection_is_told_when_its_device_is_back() {
    let limits = limits(10, 10, 10);
    let mut table = Connections::default();
    let (first, told) = entry("u", "d");
    let old = table.open(first, &limits).unwrap();
    table.park(old);
    let new = table.open(entry("u", "d").0, &limits).unwrap();
    assert_eq!(*told.0.lock().unwrap(), [None]);
    assert!(table.get(old).is_none());
    table.remove(old);
    table.remove(new);
    assert!(table.is_empty());
    assert_eq!(table.live(), 0);
}

proptest! {
    /// Whatever happens in whatever order: nobody has more than his share, and nothing is left at the end.
    #[test]
    fn any_history_ends_in_an_empty_table(steps in proptest::collection::vec((0u8..5, 0usize..20, 0u8..3, 0u8..4), 0..200)) {
        let limits = limits(12, 10, 2);
        let mut table = Connections::default();
        let mut open: Vec<ConnId> = Vec::new();
        for (what, at, user, device) in steps {
            let user = format!("u{user}");
            match what {
                0 | 1 => {
                    let device = if device == 3 { String::new() } else { format!("d{device}") };
                    if let Ok(conn) = table.open(entry(&user, &device).0, &limits) {
                        open.push(conn);
                    }
                }
                2 if !open.is_empty() => table.park(open[at % open.len()]),
                3 if !open.is_empty() => {
                    let seat = (device > 0).then(|| Seat {
                        room: "r".into(), peer: "p".into(), role: "client".into(), user: user.as_str().into(),
                    });
                    let conn = open[at % open.len()];
                    if table.get(conn).is_some_and(|entry| entry.device.is_none()) {
                        table.seat(conn, seat);
                    }
                }
                _ if !open.is_empty() => {
                    let conn = open.swap_remove(at % open.len());
                    table.remove(conn);
                    table.remove(conn);
                }
                _ => {}
            }
            let live = table.iter().filter(|(_, entry)| !entry.resumable).count();
            prop_assert_eq!(live, table.live());
            for user in 0..3 {
                let user = format!("u{user}");
                let devices = table.of_user(&user)
                    .filter(|conn| table.get(*conn).is_some_and(|entry| entry.device.is_some() && !entry.resumable));
                prop_assert!(devices.count() <= 2);
            }
        }
        for conn in open {
            table.remove(conn);
        }
        prop_assert!(table.is_empty());
        prop_assert_eq!(table.live(), 0);
    }
}
