//! The run: it connects members, sends lines, lets members leave, and watches the server.

use std::thread;
use std::time::{Duration, Instant};

use super::member::{Fate, Member};
use super::server::{LIMIT, Server};
use super::transcript::Transcript;
use super::vitals::{MIB, Vitals};

/// The pause between two rounds over all members.
const ROUND: Duration = Duration::from_millis(20);

/// How often a line about the progress is printed.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(60);

/// How much more memory the server may use at the end than when all members had connected. The memory is not in use:
/// the lines that waited for stuck members were freed, but the allocator keeps most of it.
const MEMORY_ALLOWANCE: u64 = 8 * MIB;

/// How a new member behaves, in percent. Half of them stay, unless enough members that stay are connected.
const FATES: [(Fate, u32); 6] = [
    (Fate::Stays, 50),
    (Fate::IsSlow, 10),
    (Fate::SendsFin, 14),
    (Fate::Closes, 12),
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
            text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} needs a number, not {text:?}")))
        };
        Plan {
            duration: Duration::from_secs_f64(value("--minutes", 0.1) * 60.0),
            members: value("--members", 60.0) as usize,
            rate: value("--rate", 200.0),
            seed: value("--seed", 1.0) as u64,
        }
    }
}

/// Xorshift: random numbers that are the same for the same seed.
struct Random(u64);

impl Random {
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

/// How many lines the slowest member that stays may be behind before no more lines are sent: some hundred KiB.
/// Without this, on a busy machine whose members cannot read, the server would disconnect members as too slow.
const MAX_BEHIND: usize = 1_000;

#[derive(Default)]
struct Counts {
    /// Lines that the reference has received.
    lines: u64,
    /// Lines that any member has received, and that were compared.
    deliveries: u64,
    /// Lines that were not sent, so that slow members could catch up.
    skipped: u64,
    /// Members, by fate.
    by_fate: [u64; Fate::ALL.len()],
}

pub struct Soak {
    plan_text: String,
    duration: Duration,
    limit: usize,
    rate: f64,
    random: Random,
    server: Server,
    /// The number of descriptors of the server before the first member.
    descriptors: usize,
    /// The first one is the reference.
    members: Vec<Member>,
    transcript: Transcript,
    counts: Counts,
    last_id: u32,
    /// The memory of the server, every second: seconds and KiB.
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
            random: Random(plan.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            descriptors: server.vitals().descriptors(),
            server,
            members: Vec::new(),
            transcript: Transcript::default(),
            counts: Counts::default(),
            last_id: 0,
            memory: Vec::new(),
            buffer: vec![0; 64 * 1024],
        };
        soak.add_member(Fate::Stays, Instant::now() + Duration::from_secs(1));
        soak
    }

    pub fn run(mut self) {
        println!("soak: {}", self.plan_text);
        let vitals = self.server.vitals();
        let own = Vitals::of(std::process::id());
        let began = Instant::now();
        while self.members.len() < self.limit {
            self.add_random_member();
            self.round();
        }
        let memory_before = vitals.memory();
        vitals.forget_peak();
        let (ticks, own_ticks) = (vitals.ticks(), own.ticks());
        let full_since = Instant::now();
        let (mut due_lines, mut next_sample, mut next_progress) = (0.0, Duration::ZERO, PROGRESS_INTERVAL);
        while full_since.elapsed() < self.duration {
            let elapsed = full_since.elapsed();
            while due_lines < elapsed.as_secs_f64() * self.rate {
                due_lines += 1.0;
                if self.transcript.len() < MAX_BEHIND {
                    self.send_one_line();
                } else {
                    self.counts.skipped += 1;
                }
            }
            self.round();
            self.replace_members();
            if elapsed >= next_sample {
                next_sample += Duration::from_secs(1);
                self.memory.push((elapsed.as_secs_f64(), vitals.memory() as f64));
            }
            if elapsed >= next_progress {
                next_progress += PROGRESS_INTERVAL;
                self.print_progress(elapsed, vitals);
            }
            thread::sleep(ROUND);
        }
        let (ran, used, own_used) = (full_since.elapsed(), vitals.ticks() - ticks, own.ticks() - own_ticks);
        self.wait_until_all_are_up_to_date();
        self.close_all();
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
            memory_after <= memory_before + MEMORY_ALLOWANCE,
            "{memory_after} KiB at the end, {memory_before} in the beginning"
        );
    }

    /// All members write what waits and read what has arrived, the reference first.
    fn round(&mut self) {
        let now = Instant::now();
        let Soak { members, transcript, counts, buffer, .. } = self;
        let Some((reference, others)) = members.split_first_mut() else { return };
        reference.send();
        let lines = reference.read_as_reference(now, buffer, transcript);
        counts.lines += lines;
        counts.deliveries += lines;
        let mut needed = transcript.end();
        for member in others {
            member.send();
            if member.fate != Fate::IsStuck {
                counts.deliveries += member.read_and_compare(now, buffer, transcript);
                needed = needed.min(member.needs_from(transcript));
            }
        }
        transcript.forget_before(needed);
    }

    fn add_member(&mut self, fate: Fate, leaves_at: Instant) {
        self.last_id += 1;
        self.counts.by_fate[fate as usize] += 1;
        self.members.push(Member::enter(self.server.address, self.last_id, fate, leaves_at));
    }

    fn add_random_member(&mut self) {
        let mut number = self.random.below(100) as u32;
        let chosen = FATES.iter().find(|(_, parts)| number.checked_sub(*parts).map(|rest| number = rest).is_none());
        let fate = chosen.map_or(Fate::Stays, |(fate, _)| *fate);
        // Keep room for members that leave.
        let staying = self.members.iter().filter(|member| member.fate.stays()).count();
        let fate = if fate.stays() && staying * 10 > self.limit * 6 { Fate::SendsFin } else { fate };
        let (least, most) = match fate {
            Fate::IsStuck => (Duration::from_secs(2), Duration::from_secs(60)),
            _ => (Duration::from_millis(50), Duration::from_secs(10)),
        };
        let leaves_at = Instant::now() + self.random.between(least, most);
        self.add_member(fate, leaves_at);
    }

    /// Sends one line of a random member. Members that leave or are stuck send nothing; the reference does instead.
    fn send_one_line(&mut self) {
        let at = self.random.below(self.members.len());
        let member = &mut self.members[at];
        let now = Instant::now();
        if member.fate.stays() || member.fate != Fate::IsStuck && now < member.leaves_at {
            member.send_line()
        } else {
            self.members[0].send_line()
        }
    }

    fn replace_members(&mut self) {
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
            self.add_random_member();
        }
    }

    /// Sends nothing more, and waits until all members that stay have received every line.
    fn wait_until_all_are_up_to_date(&mut self) {
        let began = Instant::now();
        loop {
            self.round();
            let Soak { members, transcript, .. } = self;
            let all_received = members
                .iter()
                .filter(|member| member.fate.stays())
                .all(|member| transcript.received_from(member.id) == member.sent);
            if all_received
                && members[1..]
                    .iter()
                    .filter(|member| member.fate.stays())
                    .all(|member| member.is_up_to_date(transcript))
            {
                return;
            }
            assert!(began.elapsed() < LIMIT, "a member waits for a line that does not come");
            thread::sleep(ROUND);
        }
    }

    /// Closes all members, the reference last.
    fn close_all(&mut self) {
        let began = Instant::now();
        while self.members.len() > 1 {
            for member in &mut self.members[1..] {
                member.leaves_at = began;
                if member.fate.stays() {
                    member.fate = Fate::SendsFin;
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
            assert!(began.elapsed() < LIMIT, "{} members are not closed", self.members.len() - 1);
            thread::sleep(ROUND);
        }
        let reference = &mut self.members[0];
        reference.send_fin();
        while !reference.has_received_fin {
            self.counts.lines += reference.read_as_reference(Instant::now(), &mut self.buffer, &mut self.transcript);
            assert!(began.elapsed() < LIMIT, "the reference is not closed");
            thread::sleep(ROUND);
        }
    }

    fn print_progress(&self, elapsed: Duration, vitals: Vitals) {
        println!(
            "{:6.1} min  {} lines  {} deliveries  {} members so far  memory {} KiB  {} ticks",
            elapsed.as_secs_f64() / 60.0,
            self.counts.lines,
            self.counts.deliveries,
            self.last_id,
            vitals.memory(),
            vitals.ticks(),
        );
    }

    fn report(&self, ran: Duration, used: u64, own_used: u64, before: u64, after: u64, peak: u64) {
        let counts = &self.counts;
        println!(
            "lines        {} accepted; every member that stayed received each of them once, in the same order",
            counts.lines
        );
        println!("skipped      {} because slow members had to catch up", counts.skipped);
        println!("deliveries   {} compared byte for byte", counts.deliveries);
        for fate in Fate::ALL {
            println!("members      {:6} {fate:?}", counts.by_fate[fate as usize]);
        }
        println!(
            "memory       {before} KiB when all had connected, {after} at the end; {peak} at the peak, the program's own files included"
        );
        println!("slope        {:+.1} KiB an hour in the second half", self.slope() * 3600.0);
        let seconds = ran.as_secs_f64();
        println!(
            "processor    server {:.1} %, members {:.1} % of a core",
            used as f64 / seconds,
            own_used as f64 / seconds
        );
    }

    /// KiB a second, by least squares over the second half.
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
