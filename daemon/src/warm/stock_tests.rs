use crankcase_sandbox::spec::{
    CpuQuota, CpuTime, MemoryMax, PidsMax, SandboxSpec, StageLimits, TemplateSpec, TmpfsInodes, TmpfsSize, WallTime,
};

use super::*;
use crate::config::{Config, Environment, Stock as Size, WarmLanguage};

const MIB: u64 = 1 << 20;
const FREE: Situation = Situation { runs_wait: false, sandboxes: 100 };

/// Members are numbers: dead above 1000. Templates likewise.
type Book = Stock<u32, u32>;

fn spec() -> SandboxSpec {
    SandboxSpec {
        box_size: TmpfsSize::new(MIB).unwrap(),
        box_inodes: TmpfsInodes::new(100).unwrap(),
        tmp_size: TmpfsSize::new(MIB).unwrap(),
    }
}

fn limits(wall_ms: u64) -> StageLimits {
    StageLimits {
        memory: MemoryMax::new(256 * MIB).unwrap(),
        pids: PidsMax::new(32).unwrap(),
        cpu_quota: CpuQuota::new(1000).unwrap(),
        wall: WallTime::new(wall_ms).unwrap(),
        cpu: CpuTime::new(4000).unwrap(),
        open_files: 64,
        file_size: MIB,
        stack: MIB,
    }
}

fn command(name: &str) -> StageCommand {
    StageCommand { argv: vec![name.to_owned()], env: vec![] }
}

fn key(name: &str, wall_ms: u64) -> Key {
    Key { spec: spec(), load: Some(Load { command: command(name), limits: limits(wall_ms), gate: true }) }
}

fn setup(name: &str, fork: bool) -> Setup {
    Setup {
        language: name.into(),
        key: key(name, 5000),
        setting: WarmLanguage { size: Size::Auto, fork, max: None },
        started_bytes: 10 * MIB,
        forked_bytes: 2 * MIB,
        standing: true,
    }
}

fn own(wall_ms: u64) -> Option<Setup> {
    Some(Setup { key: key("ruby", wall_ms), standing: false, ..setup("ruby", false) })
}

fn layout(shelves: Vec<Setup>, text: &str) -> Layout {
    let warm = Config::parse(text, &Environment::default()).unwrap().reloadable.warm;
    let templates = shelves
        .iter()
        .filter(|setup| setup.setting.fork)
        .map(|setup| Blueprint {
            language: Arc::clone(&setup.language),
            spec: TemplateSpec {
                sandbox: spec(),
                command: command(&setup.language),
                limits: limits(5000),
                example: None,
            },
            bytes: 10 * MIB,
        })
        .collect();
    Layout { warm: Arc::new(warm), bytes: 1024 * MIB, shelves, templates }
}

fn book(shelves: Vec<Setup>, now: Instant) -> Book {
    Stock::new(layout(shelves, ""), now)
}

fn sweep(book: &mut Book, now: Instant) -> Vec<u32> {
    book.sweep(now, FREE, |member| *member > 1000, |template| *template > 1000)
}

/// Carries out orders until there is none; returns how many of each: started, forked, templates.
fn fill(book: &mut Book, now: Instant) -> [u32; 3] {
    let mut made = [0; 3];
    sweep(book, now);
    while let Some(order) = book.next(now, FREE) {
        match order {
            Order::Member { shelf, template, bytes, .. } => {
                made[usize::from(template.is_some())] += 1;
                assert_eq!(book.made(shelf, bytes, Ok(1), now), None);
            }
            Order::Template { slot, .. } => {
                made[2] += 1;
                book.template_made(slot, Ok(1), now);
            }
        }
        sweep(book, now);
    }
    made
}

fn take(book: &mut Book, name: &str, now: Instant) -> Option<u32> {
    book.take(&key(name, 5000), now, || None)
}

fn error(step: Step) -> SandboxError {
    SandboxError { step, errno: 0 }
}

#[test]
fn a_template_comes_first_and_its_forks_fill_the_shelf() {
    let now = Instant::now();
    let mut book = book(vec![setup("python", true), setup("ruby", false)], now);
    sweep(&mut book, now);
    assert!(matches!(book.next(now, FREE), Some(Order::Template { .. })));
    assert!(
        matches!(book.next(now, FREE), Some(Order::Member { template: None, .. })),
        "while it starts, another language gets its own"
    );
    let mut book = self::book(vec![setup("python", true), setup("ruby", false)], now);
    assert_eq!(fill(&mut book, now), [2, 4, 1]);
    for _ in 0..4 {
        assert_eq!(take(&mut book, "python", now), Some(1));
    }
    assert_eq!(take(&mut book, "python", now), None, "each is handed out once");
    assert_eq!(fill(&mut book, now), [0, 7, 0], "five at once, and a quarter on top");
}

#[test]
fn while_runs_wait_only_forks_are_made() {
    let now = Instant::now();
    let mut book = book(vec![setup("ruby", false), setup("python", true)], now);
    let busy = Situation { runs_wait: true, ..FREE };
    sweep(&mut book, now);
    let Some(Order::Template { slot, .. }) = book.next(now, busy) else { panic!("without it there are no forks") };
    book.template_made(slot, Ok(1), now);
    for _ in 0..4 {
        assert!(matches!(book.next(now, busy), Some(Order::Member { template: Some(_), .. })));
    }
    assert!(book.next(now, busy).is_none());
    assert!(matches!(book.next(now, FREE), Some(Order::Member { template: None, .. })));
}

#[test]
fn a_failing_shelf_is_tried_less_and_less_and_is_told_of() {
    let mut now = Instant::now();
    let mut book = book(vec![setup("ruby", false)], now);
    let mut tries = 0;
    for _ in 0..600 {
        now += Duration::from_secs(1);
        sweep(&mut book, now);
        while let Some(Order::Member { shelf, bytes, .. }) = book.next(now, FREE) {
            tries += 1;
            book.made(shelf, bytes, Err(error(Step::Gate)), now);
        }
    }
    assert!((8..14).contains(&tries), "{tries}");
    assert_eq!(book.failing(), [Arc::from("ruby")]);
    now += Duration::from_secs(600);
    assert_eq!(fill(&mut book, now), [2, 0, 0]);
    assert!(book.failing().is_empty());
}

#[test]
fn what_the_spawner_or_a_template_did_is_not_the_shelfs_failure() {
    let now = Instant::now();
    let mut book = book(vec![setup("ruby", false)], now);
    sweep(&mut book, now);
    for step in [Step::Spawner, Step::Template, Step::Spawner, Step::Spawner] {
        let Some(Order::Member { shelf, bytes, .. }) = book.next(now, FREE) else { panic!("tried at once") };
        book.made(shelf, bytes, Err(error(step)), now);
    }
    assert!(book.failing().is_empty());
}

#[test]
fn a_language_whose_template_fails_is_started_process_by_process() {
    let mut now = Instant::now();
    let mut book = book(vec![setup("python", true)], now);
    for _ in 0..3 {
        assert!(book.failing().is_empty());
        now += Duration::from_secs(3);
        sweep(&mut book, now);
        let Some(Order::Template { slot, .. }) = book.next(now, FREE) else { panic!("a template is tried") };
        assert!(book.next(now, FREE).is_none(), "nothing else is, while there is hope for it");
        book.template_made(slot, Err(error(Step::Gate)), now);
    }
    assert_eq!(book.failing(), [Arc::from("python")]);
    assert_eq!(fill(&mut book, now), [2, 0, 0]);
    now += Duration::from_secs(600);
    assert!(fill(&mut book, now)[2] == 1, "and tried again in the end");
}

#[test]
fn a_template_is_replaced_after_runs_and_after_a_time() {
    let start = Instant::now();
    let mut book: Book = Stock::new(layout(vec![setup("python", true)], "warm.template-runs = 20"), start);
    assert_eq!(fill(&mut book, start), [0, 4, 1]);
    for _ in 0..16 {
        assert!(book.template(&command("python"), start).is_some());
    }
    assert_eq!(fill(&mut book, start)[2], 1, "twenty runs");
    assert!(book.template(&command("ruby"), start).is_none());
    let later = start + Duration::from_secs(600);
    assert_eq!(fill(&mut book, later)[2], 1, "ten minutes");
    // A successor that does not come: it serves on for a while, not for ever.
    let forks = (0..200).filter(|_| book.template(&command("python"), later).is_some()).count();
    assert!((70..=80).contains(&forks), "{forks}");
}

#[test]
fn the_dead_are_buried_and_replaced() {
    let now = Instant::now();
    let mut book = book(vec![setup("ruby", false), setup("python", true)], now);
    fill(&mut book, now);
    for shelf in &mut book.shelves {
        shelf.ready[0].member = 1001;
    }
    assert_eq!(sweep(&mut book, now), [1001, 1001]);
    assert_eq!(fill(&mut book, now), [1, 1, 0]);
    book.slots[0].live.as_mut().unwrap().template = Arc::new(1001);
    assert_eq!(fill(&mut book, now), [0, 0, 1], "a template that died, though nobody needs a fork now");
    let template = book.template(&command("python"), now).unwrap();
    book.template_lost(&template);
    assert!(book.template(&command("python"), now).is_none());
    book.template_lost(&template);
}

#[test]
fn old_members_serve_until_there_are_new_ones() {
    let start = Instant::now();
    let mut book = book(vec![setup("ruby", false)], start);
    assert_eq!(fill(&mut book, start), [2, 0, 0]);
    let later = start + Duration::from_secs(601);
    assert!(sweep(&mut book, later).is_empty());
    let Some(Order::Member { shelf, bytes, .. }) = book.next(later, FREE) else { panic!("a new one") };
    assert_eq!(book.levels(later)[0].ready, 2);
    book.made(shelf, bytes, Ok(7), later);
    assert_eq!(sweep(&mut book, later), [1], "one new, one old left");
    assert_eq!(sweep(&mut book, start + Duration::from_secs(1300)), [1], "twice its age is too old");
}

#[test]
fn a_stock_shrinks_when_the_demand_is_gone() {
    let start = Instant::now();
    let mut book = book(vec![setup("ruby", false)], start);
    fill(&mut book, start);
    for _ in 0..10 {
        take(&mut book, "ruby", start);
    }
    assert_eq!(fill(&mut book, start), [13, 0, 0]);
    assert!(sweep(&mut book, start + Duration::from_secs(300)).is_empty());
    fill(&mut book, start + Duration::from_secs(599));
    assert_eq!(sweep(&mut book, start + Duration::from_secs(700)).len(), 11);
}

#[test]
fn limits_of_a_request_get_a_shelf_when_they_come_again() {
    let start = Instant::now();
    let mut book = book(vec![setup("ruby", false)], start);
    fill(&mut book, start);
    assert_eq!(book.take(&key("ruby", 1000), start, || own(1000)), None);
    assert_eq!(fill(&mut book, start), [0, 0, 0], "once is nothing");
    assert_eq!(book.take(&key("ruby", 1000), start, || own(1000)), None);
    assert_eq!(fill(&mut book, start), [2, 0, 0]);
    assert_eq!(book.take(&key("ruby", 1000), start, || own(1000)), Some(1));
    assert_eq!(book.take(&key("ruby", 1001), start, || own(1001)), None, "limits are part of the key");
    let later = start + Duration::from_secs(601);
    sweep(&mut book, later);
    sweep(&mut book, later);
    assert_eq!(book.shelves.len(), 1, "it goes with the demand");
}

#[test]
fn nobody_can_make_it_keep_more_than_some_keys() {
    let now = Instant::now();
    let mut book = book(vec![], now);
    for wall in 100..600 {
        for _ in 0..2 {
            book.take(&key("ruby", wall), now, || own(wall));
        }
        book.take(&key("ruby", wall + 10_000), now, || own(wall));
    }
    assert!(book.shelves.len() <= OWN_MAX && book.asked.len() <= OWN_MAX);
}

#[test]
fn other_limits_destroy_what_was_made_for_the_old_ones() {
    let now = Instant::now();
    let mut book = book(vec![setup("ruby", false), setup("python", true)], now);
    fill(&mut book, now);
    let kept = book.set_up(layout(vec![setup("python", true), setup("ruby", false)], ""), now);
    assert!(kept.is_empty());
    assert_eq!(fill(&mut book, now), [0, 0, 0]);
    let changed = Setup { key: key("ruby", 7000), ..setup("ruby", false) };
    sweep(&mut book, now);
    take(&mut book, "ruby", now);
    let Some(Order::Member { shelf, bytes, .. }) = book.next(now, FREE) else { panic!("one is missing") };
    assert_eq!(book.set_up(layout(vec![setup("python", true), changed], ""), now), [1]);
    assert_eq!(book.made(shelf, bytes, Ok(9), now), Some(9), "what was under way is destroyed");
    assert_eq!(take(&mut book, "ruby", now), None);
}

#[test]
fn memory_is_given_back_by_what_was_used_longest_ago_and_growth_pauses() {
    let now = Instant::now();
    let mut book = book(vec![setup("ruby", false), setup("php", false), setup("python", true)], now);
    fill(&mut book, now);
    take(&mut book, "ruby", now);
    let later = now + Duration::from_secs(60);
    take(&mut book, "php", later);
    let (members, templates) = book.shrink(9 * MIB, later);
    assert_eq!((members.len(), templates.len()), (5, 0), "all of python, which was never used, and one of ruby");
    sweep(&mut book, later);
    assert!(book.next(later, FREE).is_none());
    assert!(book.next(later + HOLD, FREE).is_some());
    let (members, templates) = book.shrink(u64::MAX, later);
    assert_eq!((members.len(), templates.len()), (1, 1));
}

#[test]
fn an_order_without_memory_is_given_up_and_tried_later() {
    let now = Instant::now();
    let mut book = book(vec![setup("ruby", false)], now);
    sweep(&mut book, now);
    let order = book.next(now, FREE).unwrap();
    book.gave_up(&order, now);
    assert!(book.next(now, FREE).is_none());
    assert_eq!(fill(&mut book, now + Duration::from_secs(1)), [2, 0, 0]);
}
