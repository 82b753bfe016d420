//! The run: who comes, who speaks, who leaves, and what the server looks like meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use super::member::{Fate, Member};
use super::score::Score;
use super::server::{LIMIT, Server};
use super::vitals::{MIB, Vitals};

/// Between two looks at all the members.
const ROUND: Duration = Duration::from_millis(20);

/// How often a line about the state of things is printed, at most.
const NEWS: Duration = Duration::from_secs(60);

/// What the server may have at the end above what it had when everybody was in. It is not what is in use: what the stuck
/// members had waiting was freed with them, but the allocator keeps most of it for the next ones.
const LEFT_BEHIND: u64 = 8 * MIB;

/// Who comes, in parts of a hundred: half of them stay, as long as not all that may stay are there.
const FATES: [(Fate, u32); 6] = [
    (Fate::Stays, 50),
    (Fate::StaysAndIsSlow, 10),
    (Fate::LeavesPolitely, 14),
    (Fate::Vanishes, 12),
    (Fate::Resets, 12),
    (Fate::IsStuck, 2),
];

pub struct Plan {
    duration: Duration,
    members: usize,
    rate: f64,
    seed: u64,
}

impl Plan {
    pub fn of_arguments() -> Plan {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |name: &str, default: f64| {
            let at = arguments.iter().position(|argument| argument == name);
            let text = at.and_then(|at| arguments.get(at + 1));
            text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} wants a number, not {text:?}")))
        };
        Plan {
            duration: Duration::from_secs_f64(value("--minutes", 0.1) * 60.0),
            members: value("--members", 60.0) as usize,
            rate: value("--rate", 200.0),
            seed: value("--seed", 1.0) as u64,
        }
    }
}

/// Xorshift: chance that is the same again for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit.max(1)
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + Duration::from_millis(self.below((most - least).as_millis() as usize) as u64)
    }
}

/// How many lines the slowest who stays may be behind before talk stops: some hundred KiB. A machine that is too busy to let
/// the members read makes nobody too slow for the server.
const PATIENCE: usize = 1_000;

#[derive(Default)]
struct Counts {
    /// Lines that the reference heard.
    lines: u64,
    /// Lines that anybody heard, and that were compared.
    deliveries: u64,
    /// Lines that nobody said, so that the slow could catch up.
    unsaid: u64,
    /// Members, by fate.
    came: [u64; Fate::ALL.len()],
}

pub struct Soak {
    plan_text: String,
    duration: Duration,
    limit: usize,
    rate: f64,
    dice: Dice,
    server: Server,
    /// Descriptors of the server with nobody there.
    descriptors: usize,
    /// The first one is the reference.
    members: Vec<Member>,
    score: Score,
    counts: Counts,
    last_who: u32,
    /// Memory of the server, every second: seconds and KiB.
    memory: Vec<(f64, f64)>,
    buffer: Vec<u8>,
}

impl Soak {
    pub fn new(plan: &Plan) -> Soak {
        let seconds = plan.duration.as_secs_f64();
        let server = Server::start(&["relay"]);
        let mut soak = Soak {
            plan_text: format!(
                "{seconds:.0} s, {} members, {} lines a second, seed {}",
                plan.members, plan.rate, plan.seed
            ),
            duration: plan.duration,
            limit: plan.members.max(2),
            rate: plan.rate,
            dice: Dice(plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            descriptors: server.vitals().descriptors(),
            server,
            members: Vec::new(),
            score: Score::default(),
            counts: Counts::default(),
            last_who: 0,
            memory: Vec::new(),
            buffer: vec![0; 64 * 1024],
        };
        soak.let_in(Fate::Stays, Instant::now() + Duration::from_secs(1));
        soak
    }

    pub fn run(mut self) {
        println!("soak: {}", self.plan_text);
        let vitals = self.server.vitals();
        let own = Vitals::of(std::process::id());
        let began = Instant::now();
        while self.members.len() < self.limit {
            self.let_in_somebody();
            self.round();
        }
        let memory_before = vitals.memory();
        vitals.forget_peak();
        let (ticks, own_ticks) = (vitals.ticks(), own.ticks());
        let crowded = Instant::now();
        let (mut spoken, mut next_sample, mut next_news) = (0.0, Duration::ZERO, NEWS);
        while crowded.elapsed() < self.duration {
            let elapsed = crowded.elapsed();
            while spoken < elapsed.as_secs_f64() * self.rate {
                spoken += 1.0;
                if self.score.len() < PATIENCE {
                    self.somebody_speaks();
                } else {
                    self.counts.unsaid += 1;
                }
            }
            self.round();
            self.some_come_and_go();
            if elapsed >= next_sample {
                next_sample += Duration::from_secs(1);
                self.memory.push((elapsed.as_secs_f64(), vitals.memory() as f64));
            }
            if elapsed >= next_news {
                next_news += NEWS;
                self.tell_news(elapsed, vitals);
            }
            thread::sleep(ROUND);
        }
        let (ran, used, own_used) = (crowded.elapsed(), vitals.ticks() - ticks, own.ticks() - own_ticks);
        self.everybody_hears_everything();
        self.everybody_leaves();
        let memory_after = vitals.memory();
        self.report(ran, used, own_used, memory_before, memory_after, vitals.peak());
        while vitals.descriptors() > self.descriptors {
            assert!(
                began.elapsed() < ran + 2 * LIMIT,
                "{} descriptors, {} in the beginning",
                vitals.descriptors(),
                self.descriptors
            );
            thread::sleep(ROUND);
        }
        self.server.signal("TERM");
        let (status, log) = self.server.end();
        assert_eq!(status, Some(0), "{log}");
        assert!(!log.contains("panic"), "{log}");
        assert!(
            memory_after <= memory_before + LEFT_BEHIND,
            "{memory_after} KiB at the end, {memory_before} in the beginning"
        );
    }

    /// Everybody sends what waits, and hears what came; the reference first.
    fn round(&mut self) {
        let now = Instant::now();
        let Soak { members, score, counts, buffer, .. } = self;
        let Some((reference, others)) = members.split_first_mut() else { return };
        reference.send();
        let lines = reference.dictate(now, buffer, score);
        counts.lines += lines;
        counts.deliveries += lines;
        let mut needed = score.end();
        for member in others {
            member.send();
            if member.fate != Fate::IsStuck {
                counts.deliveries += member.listen(now, buffer, score);
                needed = needed.min(member.needs_from(score));
            }
        }
        score.forget_before(needed);
    }

    fn let_in(&mut self, fate: Fate, leaves_at: Instant) {
        self.last_who += 1;
        self.counts.came[fate as usize] += 1;
        self.members.push(Member::enter(self.server.address, self.last_who, fate, leaves_at));
    }

    fn let_in_somebody(&mut self) {
        let mut throw = self.dice.below(100) as u32;
        let chosen = FATES.iter().find(|(_, parts)| throw.checked_sub(*parts).map(|rest| throw = rest).is_none());
        let fate = chosen.map_or(Fate::Stays, |(fate, _)| *fate);
        // There must be room for those who come and go.
        let staying = self.members.iter().filter(|member| member.fate.stays()).count();
        let fate = if fate.stays() && staying * 10 > self.limit * 6 { Fate::LeavesPolitely } else { fate };
        let (least, most) = match fate {
            Fate::IsStuck => (Duration::from_secs(2), Duration::from_secs(60)),
            _ => (Duration::from_millis(50), Duration::from_secs(10)),
        };
        let leaves_at = Instant::now() + self.dice.between(least, most);
        self.let_in(fate, leaves_at);
    }

    /// Who is on its way out, or hangs, does not speak.
    fn somebody_speaks(&mut self) {
        let at = self.dice.below(self.members.len());
        let member = &mut self.members[at];
        let now = Instant::now();
        if member.fate.stays() || member.fate != Fate::IsStuck && now < member.leaves_at {
            member.say()
        } else {
            self.members[0].say()
        }
    }

    fn some_come_and_go(&mut self) {
        let now = Instant::now();
        let mut at = 1;
        while at < self.members.len() {
            let member = &mut self.members[at];
            if now >= member.leaves_at && member.leave() {
                self.members.swap_remove(at);
            } else {
                at += 1;
            }
        }
        while self.members.len() < self.limit {
            self.let_in_somebody();
        }
    }

    /// Nobody speaks any more; those who stay hear the rest.
    fn everybody_hears_everything(&mut self) {
        let began = Instant::now();
        loop {
            self.round();
            let Soak { members, score, .. } = self;
            let all_in = members
                .iter()
                .filter(|member| member.fate.stays())
                .all(|member| score.heard_of(member.who) == member.said);
            if all_in
                && members[1..].iter().filter(|member| member.fate.stays()).all(|member| member.is_up_to_date(score))
            {
                return;
            }
            assert!(began.elapsed() < LIMIT, "somebody waits for a line that does not come");
            thread::sleep(ROUND);
        }
    }

    /// As each has to; the reference is the last.
    fn everybody_leaves(&mut self) {
        let began = Instant::now();
        while self.members.len() > 1 {
            for member in &mut self.members[1..] {
                member.leaves_at = began;
                if member.fate.stays() {
                    member.fate = Fate::LeavesPolitely;
                }
            }
            self.round();
            let mut at = 1;
            while at < self.members.len() {
                if self.members[at].leave() {
                    self.members.swap_remove(at);
                } else {
                    at += 1;
                }
            }
            assert!(began.elapsed() < LIMIT, "{} do not come away", self.members.len() - 1);
            thread::sleep(ROUND);
        }
        let reference = &mut self.members[0];
        reference.say_good_bye();
        while !reference.has_heard_good_bye {
            self.counts.lines += reference.dictate(Instant::now(), &mut self.buffer, &mut self.score);
            assert!(began.elapsed() < LIMIT, "the reference does not come away");
            thread::sleep(ROUND);
        }
    }

    fn tell_news(&self, elapsed: Duration, vitals: Vitals) {
        println!(
            "{:6.1} min  {} lines  {} deliveries  {} members came  memory {} KiB  {} ticks",
            elapsed.as_secs_f64() / 60.0,
            self.counts.lines,
            self.counts.deliveries,
            self.last_who,
            vitals.memory(),
            vitals.ticks(),
        );
    }

    fn report(&self, ran: Duration, used: u64, own_used: u64, before: u64, after: u64, peak: u64) {
        let counts = &self.counts;
        println!(
            "lines        {} said and accepted, each heard by everybody who stayed, once, in the same order",
            counts.lines
        );
        println!("unsaid       {} until the slow had caught up", counts.unsaid);
        println!("deliveries   {} compared byte for byte", counts.deliveries);
        for fate in Fate::ALL {
            println!("members      {:6} {fate:?}", counts.came[fate as usize]);
        }
        println!(
            "memory       {before} KiB when all were in, {after} at the end; {peak} at the peak, the program's own files included"
        );
        println!("slope        {:+.1} KiB an hour in the second half", self.slope() * 3600.0);
        let seconds = ran.as_secs_f64();
        println!(
            "processor    server {:.1} %, members {:.1} % of a core",
            used as f64 / seconds,
            own_used as f64 / seconds
        );
    }

    /// KiB a second, by least squares through the second half.
    fn slope(&self) -> f64 {
        let half = &self.memory[self.memory.len() / 2..];
        let count = half.len().max(1) as f64;
        let (x, y) = half.iter().fold((0.0, 0.0), |(x, y), sample| (x + sample.0 / count, y + sample.1 / count));
        let (xy, xx) = half.iter().fold((0.0, 0.0), |(xy, xx), sample| {
            let (dx, dy) = (sample.0 - x, sample.1 - y);
            (xy + dx * dy, xx + dx * dx)
        });
        if xx > 0.0 { xy / xx } else { 0.0 }
    }
}
