use proptest::prelude::*;

use super::*;
use crate::spec::SourceFile;

fn limits() -> impl Strategy<Value = StageLimits> {
    (
        MemoryMax::MIN..=MemoryMax::MAX,
        PidsMax::MIN..=PidsMax::MAX,
        CpuQuota::MIN..=CpuQuota::MAX,
        WallTime::MIN..=WallTime::MAX,
        CpuTime::MIN..=CpuTime::MAX,
        any::<(u64, u64, u64)>(),
    )
        .prop_map(|(memory, pids, quota, wall, cpu, (open_files, file_size, stack))| StageLimits {
            memory: MemoryMax::new(memory).unwrap(),
            pids: PidsMax::new(pids).unwrap(),
            cpu_quota: CpuQuota::new(quota).unwrap(),
            wall: WallTime::new(wall).unwrap(),
            cpu: CpuTime::new(cpu).unwrap(),
            open_files,
            file_size,
            stack,
        })
}

fn command() -> impl Strategy<Value = StageCommand> {
    (prop::collection::vec("[^\0]{1,40}", 1..8), prop::collection::vec(("[A-Z_]{1,12}", "[^\0]{0,40}"), 0..8))
        .prop_map(|(argv, env)| StageCommand { argv, env })
}

fn spec() -> impl Strategy<Value = SandboxSpec> {
    (TmpfsSize::MIN..=TmpfsSize::MAX, TmpfsInodes::MIN..=TmpfsInodes::MAX).prop_map(|(size, inodes)| SandboxSpec {
        box_size: TmpfsSize::new(size).unwrap(),
        box_inodes: TmpfsInodes::new(inodes).unwrap(),
        tmp_size: TmpfsSize::new(size).unwrap(),
    })
}

fn example() -> impl Strategy<Value = Example> {
    ("[a-z]{1,9}", "[^\0]{0,40}", "[^\0]{0,40}").prop_map(|(file, code, stdin)| Example { file, code, stdin })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        any::<u16>().prop_map(|version| Request::Hello { version }),
        (any::<u32>(), spec(), any::<bool>()).prop_map(|(id, spec, background)| Request::Create {
            id,
            spec,
            background
        }),
        (any::<u32>(), spec(), command(), limits(), prop::option::of(example())).prop_map(
            |(id, sandbox, command, limits, example)| Request::CreateTemplate {
                id,
                spec: TemplateSpec { sandbox, command, limits, example }
            }
        ),
        any::<u32>().prop_map(|id| Request::Write { id }),
        (any::<u32>(), "[a-z]{1,9}(/[a-z]{1,9})?").prop_map(|(id, name)| Request::Read { id, name }),
        (any::<u32>(), command(), limits(), any::<bool>()).prop_map(|(id, command, limits, gate)| Request::Load {
            id,
            command,
            limits,
            gate
        }),
        (any::<u32>(), any::<u32>(), limits()).prop_map(|(id, template, limits)| Request::Fork {
            id,
            template,
            limits
        }),
        any::<u32>().prop_map(|id| Request::Start { id }),
        any::<u32>().prop_map(|pid| Request::Adopt { pid }),
        Just(Request::Agree),
        any::<u32>().prop_map(|id| Request::Kill { id, reason: KillReason::Output }),
        any::<u32>().prop_map(|id| Request::Destroy { id }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (any::<u32>(), any::<u8>(), any::<bool>(), 0_u8..=6, any::<bool>(), any::<(u32, u32, u64)>()).prop_map(
            |(id, code, signal, limit, cancelled, (cpu, wall, peak_memory))| Event::Ended {
                id,
                outcome: StageOutcome {
                    exit: if signal { Exit::Signal(code) } else { Exit::Code(code) },
                    limit: limit_from_code(limit).unwrap(),
                    cancelled,
                    cpu_time: Duration::from_micros(cpu.into()),
                    wall_time: Duration::from_micros(wall.into()),
                    peak_memory,
                },
            }
        ),
        (any::<u32>(), any::<i32>())
            .prop_map(|(id, errno)| Event::Failed { id, error: SandboxError { step: Step::MountBox, errno } }),
        any::<u32>().prop_map(|id| Event::Loaded { id }),
        (any::<u32>(), any::<u8>(), "[^\0]{0,40}").prop_map(|(id, exit_code, text)| Event::Compiled {
            id,
            exit_code,
            text
        }),
        any::<u32>().prop_map(|id| Event::File { id }),
        any::<(u8, u8, u32)>().prop_map(|(cgroup_version, landlock_abi, sandboxes_max)| Event::Welcome {
            version: VERSION,
            cgroup_version,
            landlock_abi,
            sandboxes_max,
            memory_cgroup: "/sys/fs/cgroup/x".to_owned(),
        }),
    ]
}

proptest! {
    #[test]
    fn requests_come_back(request in request()) {
        prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
    }

    #[test]
    fn events_come_back(event in event()) {
        prop_assert_eq!(Event::decode(&event.encode()), Ok(event));
    }

    #[test]
    fn a_cut_or_longer_frame_is_refused(request in request(), cut in 0_usize..64) {
        let mut bytes = request.encode();
        let cut = cut.min(bytes.len() - 1);
        prop_assert!(Request::decode(&bytes[..cut]).is_err());
        bytes.push(0);
        prop_assert!(Request::decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_decode_or_fail_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Request::decode(&bytes);
        let _ = Event::decode(&bytes);
        for file in unpack(&bytes) {
            let _ = file;
        }
    }

    #[test]
    fn packs_come_back(files in prop::collection::vec(("[a-z]{1,8}(/[a-z.]{3,9}x)?", prop::collection::vec(any::<u8>(), 0..64), any::<bool>()), 0..6)) {
        let files: Vec<SourceFile> = files
            .into_iter()
            .map(|(name, content, executable)| SourceFile { name, content, executable })
            .collect();
        let bytes = pack(&files).unwrap();
        let back: Vec<SourceFile> = unpack(&bytes)
            .map(|file| file.map(|f| SourceFile { name: f.name.into(), content: f.content.into(), executable: f.executable }))
            .collect::<Result<_, _>>()
            .unwrap();
        prop_assert_eq!(back, files);
    }
}

#[test]
fn an_unsafe_name_is_neither_packed_nor_unpacked() {
    let file = SourceFile { name: "../x".into(), content: vec![], executable: false };
    assert_eq!(pack(&[file]), Err(WireError::Value("file name")));
    let mut bytes = pack(&[SourceFile { name: "ab".into(), content: vec![], executable: false }]).unwrap();
    let at = bytes.iter().position(|b| *b == b'a').unwrap();
    bytes[at..at + 2].copy_from_slice(b"..");
    assert_eq!(unpack(&bytes).next(), Some(Err(WireError::Value("file name"))));
}

#[test]
fn a_file_is_asked_for_by_a_safe_name_only() {
    for name in ["../main", "/etc/shadow", "a/../../b", ""] {
        let frame = Request::Read { id: 1, name: name.into() }.encode();
        assert_eq!(Request::decode(&frame), Err(WireError::Value("file name")), "{name:?}");
    }
}

#[test]
fn an_empty_argv_is_refused() {
    let mut frame = Request::Load {
        id: 1,
        command: StageCommand { argv: vec!["x".into()], env: vec![] },
        limits: StageLimits {
            memory: MemoryMax::new(MemoryMax::MIN).unwrap(),
            pids: PidsMax::new(1).unwrap(),
            cpu_quota: CpuQuota::new(1000).unwrap(),
            wall: WallTime::new(10).unwrap(),
            cpu: CpuTime::new(10).unwrap(),
            open_files: 1,
            file_size: 1,
            stack: 1,
        },
        gate: false,
    }
    .encode();
    frame.truncate(frame.len() - 9);
    frame.extend_from_slice(&[0, 0, 0, 0]);
    assert_eq!(Request::decode(&frame), Err(WireError::Value("argv")));
}
