//! From a table of answers to a BPF program that finds a call's answer by bisection.
//!
//! A chain of comparisons costs twice: at every call that the kernel cannot answer from its cache, and at every
//! installation, when the kernel fills that cache by running the program once for each number there is. See seccomp(2) and
//! Documentation/userspace-api/seccomp_filter.rst.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{BpfProgram, sock_filter};

/// What happens to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Allow,
    /// Fails with this errno.
    Refuse(u16),
    /// Allowed if one of these holds, else it fails with the errno.
    Check(Vec<Rule>, u16),
    /// Allowed if one of the first holds, allowed once whoever listens has agreed if one of the second does, else it fails
    /// with the errno.
    Ask(Vec<Rule>, Vec<Rule>, u16),
}

/// All conditions of a rule must hold.
pub type Rule = Vec<Condition>;

/// `argument & mask` equals `value`, or differs from it. 32 bits: the kernel ignores the upper half of all the arguments
/// that are looked at here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    pub argument: u8,
    pub mask: u32,
    pub value: u32,
    pub equal: bool,
}

/// `AUDIT_ARCH` of an architecture, linux/audit.h; the programs differ in nothing else.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "the tests know both"))]
pub const ARCH_X86_64: u32 = 0xC000_003E;
#[cfg_attr(not(target_arch = "aarch64"), allow(dead_code, reason = "the tests know both"))]
pub const ARCH_AARCH64: u32 = 0xC000_00B7;

/// Offsets in `struct seccomp_data`; the low half of a 64-bit argument comes first on the little-endian machines we know.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_NOT_BELOW: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Makes the program: calls of another architecture kill the process, calls that are not in the table get `otherwise`.
pub fn assemble(arch: u32, table: &BTreeMap<u32, Answer>, otherwise: &Answer) -> BpfProgram {
    let mut program = Backwards::default();
    program.bisect(&ranges(table, otherwise));
    program.push(op(LOAD, 0, 0, NUMBER));
    program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS));
    program.push(op(JUMP_EQUAL, 1, 0, arch));
    program.push(op(LOAD, 0, 0, ARCH));
    program.0.reverse();
    program.0
}

/// Neighbours with the same answer, as the first number of each run; the first run starts at 0.
fn ranges<'a>(table: &'a BTreeMap<u32, Answer>, otherwise: &'a Answer) -> Vec<(u32, &'a Answer)> {
    let mut ranges: Vec<(u32, &Answer)> = Vec::new();
    let mut next = 0;
    let mut add = |from: u32, answer: &'a Answer| {
        if ranges.last().is_none_or(|(_, last)| *last != answer) {
            ranges.push((from, answer));
        }
    };
    for (&number, answer) in table {
        if number > next {
            add(next, otherwise);
        }
        add(number, answer);
        next = number + 1;
    }
    add(next, otherwise);
    ranges
}

/// A program as it is made: from its end, because all jumps of a filter lead forwards. Every instruction is compiled anew for
/// each sandbox, so an answer that is there already is jumped to.
#[derive(Default)]
struct Backwards(BpfProgram);

/// A conditional jump reaches 255 instructions, an unconditional one any.
const REACH: usize = 255;
/// So far away an answer is repeated, and stays within reach of the jumps that are still to come in between.
const NEAR: usize = 128;

impl Backwards {
    /// Puts an instruction in front; returns where it is, counted from the end.
    fn push(&mut self, instruction: sock_filter) -> usize {
        self.0.push(instruction);
        self.0.len() - 1
    }

    /// How far a jump in front of all this goes to `target`.
    fn distance(&self, target: usize) -> usize {
        self.0.len() - 1 - target
    }

    /// `target`, or a jump to it, so near that a conditional jump reaches it beyond one more instruction.
    fn within_reach(&mut self, target: usize) -> usize {
        let distance = self.distance(target);
        if distance < REACH {
            return target;
        }
        self.push(op(JUMP, 0, 0, u32::try_from(distance).unwrap_or(u32::MAX)))
    }

    fn bisect(&mut self, ranges: &[(u32, &Answer)]) -> usize {
        if let [(_, answer)] = ranges {
            return self.decide(answer);
        }
        let (low, high) = ranges.split_at(ranges.len() / 2);
        let above = self.bisect(high);
        let below = self.bisect(low);
        self.branch(JUMP_NOT_BELOW, high[0].0, above, below)
    }

    /// A conditional jump in front, wherever the two targets lie.
    fn branch(&mut self, code: u16, value: u32, then: usize, or: usize) -> usize {
        let (then, or) = (self.within_reach(then), self.within_reach(or));
        let reach = |target| u8::try_from(self.distance(target)).unwrap_or(u8::MAX);
        self.push(op(code, reach(then), reach(or), value))
    }

    fn decide(&mut self, answer: &Answer) -> usize {
        match answer {
            Answer::Allow => self.give(libc::SECCOMP_RET_ALLOW),
            Answer::Refuse(errno) => self.refuse(*errno),
            Answer::Check(rules, errno) => {
                let fails = self.refuse(*errno);
                self.check(rules, libc::SECCOMP_RET_ALLOW, fails)
            }
            Answer::Ask(rules, asked, errno) => {
                let fails = self.refuse(*errno);
                let asked = self.check(asked, libc::SECCOMP_RET_USER_NOTIF, fails);
                self.check(rules, libc::SECCOMP_RET_ALLOW, asked)
            }
        }
    }

    fn refuse(&mut self, errno: u16) -> usize {
        self.give(libc::SECCOMP_RET_ERRNO | u32::from(errno))
    }

    fn give(&mut self, answer: u32) -> usize {
        let answer = op(RETURN, 0, 0, answer);
        match self.0.iter().rev().take(NEAR).position(|instruction| *instruction == answer) {
            Some(distance) => self.0.len() - 1 - distance,
            None => self.push(answer),
        }
    }

    /// Gives the answer when all conditions of a rule hold, else goes on at `otherwise`.
    fn check(&mut self, rules: &[Rule], answer: u32, otherwise: usize) -> usize {
        let mut next = otherwise;
        for (index, rule) in rules.iter().enumerate().rev() {
            // Behind one that looks at the same argument that is still loaded.
            let loaded = index.checked_sub(1).is_some_and(|before| same_argument(&rules[before], rule));
            let mut at = self.give(answer);
            for condition in rule.iter().rev() {
                let (then, or) = if condition.equal { (at, next) } else { (next, at) };
                at = self.branch(JUMP_EQUAL, condition.value, then, or);
                if condition.mask != u32::MAX {
                    at = self.push(op(AND, 0, 0, condition.mask));
                }
                if !loaded {
                    at = self.push(op(LOAD, 0, 0, ARGUMENTS + 8 * u32::from(condition.argument)));
                }
            }
            next = at;
        }
        next
    }
}

/// Whether both have one condition alone, on the whole of the same argument.
fn same_argument(one: &Rule, other: &Rule) -> bool {
    match (one.as_slice(), other.as_slice()) {
        ([one], [other]) => one.argument == other.argument && one.mask & other.mask == u32::MAX,
        _ => false,
    }
}

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What the kernel would do: the instructions above, on one call.
    pub fn run(program: &BpfProgram, arch: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let (mut at, mut accumulator, mut steps) = (0, 0_u32, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at].clone();
            at += 1;
            steps += 1;
            assert!(steps < 200, "no call takes that long");
            match code {
                LOAD => {
                    accumulator = match k {
                        NUMBER => number,
                        ARCH => arch,
                        _ => arguments[(k - ARGUMENTS) as usize / 8] as u32,
                    }
                }
                AND => accumulator &= k,
                JUMP => at += k as usize,
                JUMP_EQUAL => at += usize::from(if accumulator == k { jt } else { jf }),
                JUMP_NOT_BELOW => at += usize::from(if accumulator >= k { jt } else { jf }),
                RETURN => return k,
                _ => panic!("code {code}"),
            }
        }
    }

    fn equal(argument: u8, value: u32) -> Condition {
        Condition { argument, mask: u32::MAX, value, equal: true }
    }

    #[test]
    fn every_number_gets_its_answer() {
        let mut table = BTreeMap::new();
        for number in (0..300).filter(|n| n % 3 == 0) {
            table.insert(number, if number % 2 == 0 { Answer::Allow } else { Answer::Refuse(1) });
        }
        let rules = vec![
            vec![equal(0, 7), Condition { argument: 1, mask: 0xf, value: 2, equal: true }],
            vec![Condition { argument: 2, mask: u32::MAX, value: 9, equal: false }, equal(0, 8)],
        ];
        table.insert(50, Answer::Check(rules, 5));
        let program = assemble(ARCH_X86_64, &table, &Answer::Refuse(38));
        let errno = |errno| libc::SECCOMP_RET_ERRNO | errno;
        for number in (0..400).chain([0x4000_0000, u32::MAX]).filter(|n| *n != 50) {
            let wanted = match table.get(&number) {
                Some(Answer::Allow) => libc::SECCOMP_RET_ALLOW,
                Some(Answer::Refuse(e)) => errno(u32::from(*e)),
                _ => errno(38),
            };
            assert_eq!(run(&program, ARCH_X86_64, number, [0; 6]), wanted, "{number}");
        }
        for (arguments, wanted) in [
            ([7, 0x12, 0], libc::SECCOMP_RET_ALLOW),
            ([7, 0x13, 0], errno(5)),
            ([8, 0, 1], libc::SECCOMP_RET_ALLOW),
            ([8, 0, 9], errno(5)),
            ([9, 2, 1], errno(5)),
        ] {
            let [a, b, c] = arguments;
            assert_eq!(run(&program, ARCH_X86_64, 50, [a, b, c, 0, 0, 0]), wanted, "{arguments:?}");
        }
        let other = run(&program, ARCH_AARCH64, 3, [0; 6]);
        assert_eq!(other, libc::SECCOMP_RET_KILL_PROCESS);
    }

    #[test]
    fn jumps_reach_over_any_distance() {
        for answers in [1, 2, 1500] {
            let answer = |number: u32| Answer::Refuse(u16::try_from(number % answers).unwrap());
            let table = (0..1500).map(|number| (number, answer(number))).collect();
            let program = assemble(ARCH_X86_64, &table, &Answer::Allow);
            for number in 0..1500 {
                let wanted = libc::SECCOMP_RET_ERRNO | (number % answers);
                assert_eq!(run(&program, ARCH_X86_64, number, [0; 6]), wanted, "{number} of {answers}");
            }
            assert_eq!(run(&program, ARCH_X86_64, 1500, [0; 6]), libc::SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn an_answer_is_there_once_where_jumps_reach() {
        let table = (0..100).filter(|number| number % 2 == 0).map(|number| (number, Answer::Allow)).collect();
        // Between 100 ranges 99 decisions; the check of the architecture, the number, and two answers.
        assert_eq!(assemble(ARCH_X86_64, &table, &Answer::Refuse(38)).len(), 99 + 4 + 2);
    }
}
