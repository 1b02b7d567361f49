use super::*;
use crate::limits::Nofile;
use crate::proc::conntrack::Conntrack;
use proptest::prelude::*;

/// A small virtual machine as it comes out of the box.
fn small_machine() -> Readings {
    Readings {
        nofile: Nofile { soft: 1024, hard: 20_000 },
        can_be_private: true,
        nr_open: Some(1_048_576),
        file_max: Some(2_466_170),
        files_open: Some(415),
        port_range: Some((32768, 60999)),
        reserved_ports: PortRanges::default(),
        memory_available_bytes: Some(24_000_000_000),
        tcp_mem_pages: Some([287_898, 383_867, 575_796]),
        tcp_mem_used_pages: Some(215),
        tcp_ehash_buckets: Some(262_144),
        page_bytes: 4096,
        conntrack: None,
        somaxconn: Some(4096),
        tcp_max_syn_backlog: Some(2048),
        tcp_syncookies: Some(1),
        cpus: Some(2),
        clocksource: "tsc".to_owned(),
        clocksources_available: vec!["tsc".to_owned(), "kvm-clock".to_owned()],
    }
}

/// Everything too small.
fn tiny_machine() -> Readings {
    Readings {
        nofile: Nofile { soft: 1024, hard: 4096 },
        can_be_private: false,
        nr_open: Some(65536),
        file_max: Some(100_000),
        memory_available_bytes: Some(1_000_000_000),
        conntrack: Some(Conntrack { count: 120, max: 65536, ..Conntrack::default() }),
        port_range: Some((1024, 65535)),
        somaxconn: Some(128),
        tcp_max_syn_backlog: Some(128),
        tcp_syncookies: Some(0),
        cpus: Some(1),
        clocksource: "hpet".to_owned(),
        clocksources_available: vec!["tsc".to_owned(), "hpet".to_owned()],
        ..small_machine()
    }
}

/// A machine that tells nothing.
fn silent_machine() -> Readings {
    Readings {
        nofile: Nofile { soft: u64::MAX, hard: u64::MAX },
        nr_open: None,
        file_max: None,
        files_open: None,
        port_range: None,
        memory_available_bytes: None,
        tcp_mem_pages: None,
        tcp_mem_used_pages: None,
        tcp_ehash_buckets: None,
        conntrack: None,
        somaxconn: None,
        tcp_max_syn_backlog: None,
        tcp_syncookies: None,
        cpus: None,
        clocksource: String::new(),
        clocksources_available: Vec::new(),
        ..small_machine()
    }
}

fn million() -> Needs {
    Needs {
        connections: 1_000_000,
        workers: 56,
        private_fd_tables: true,
        source_addresses: 80,
        served_ports: PortRanges::new([(7000, 7015), (8080, 8080)]),
        ..Needs::default()
    }
}

fn named<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).expect(name)
}

#[test]
fn ten_thousand_connections_fit_a_small_machine() {
    let needs = Needs { connections: 10_000, ..Needs::default() };
    let checks = check(&needs, &small_machine());
    assert_eq!(worst(&checks), Level::Ok);
    insta::assert_snapshot!("ten_thousand_on_a_small_machine", render(&checks));
}

#[test]
fn a_million_connections_on_a_small_machine() {
    let checks = check(&million(), &small_machine());
    insta::assert_snapshot!("a_million_on_a_small_machine", render(&checks));
}

#[test]
fn too_much_for_a_tiny_machine() {
    let needs = Needs { connections: 200_000, source_addresses: 1, ..million() };
    let checks = check(&needs, &tiny_machine());
    assert_eq!(worst(&checks), Level::Fail);
    insta::assert_snapshot!("too_much_for_a_tiny_machine", render(&checks));
}

#[test]
fn settings_are_lines_for_sysctl_and_stand_there_once() {
    let needs = Needs { connections: 200_000, source_addresses: 1, ..million() };
    insta::assert_snapshot!(render_settings(&check(&needs, &tiny_machine())), @r#"
    fs.nr_open = 201464
    fs.file-max = 440526
    net.ipv4.ip_local_reserved_ports = 7000-7015,8080
    net.netfilter.nf_conntrack_max = 400240
    net.core.somaxconn = 4096
    net.ipv4.tcp_max_syn_backlog = 4096
    "#);
    assert_eq!(render_settings(&check(&Needs::default(), &small_machine())), "");
}

#[test]
fn as_json_a_fix_is_told_in_its_parts() {
    let needs = Needs { connections: 200_000, source_addresses: 1, ..million() };
    let checks = check(&needs, &tiny_machine());
    insta::assert_snapshot!(serde_json::to_string_pretty(named(&checks, "descriptors")).expect("plain data"), @r#"
    {
      "name": "descriptors",
      "level": "fail",
      "is": "4,096 per table",
      "need": "201,464 in one table",
      "why": "Every connection is a descriptor, and at the limit no more can be opened or accepted.",
      "fix": {
        "advice": null,
        "settings": [
          {
            "key": "fs.nr_open",
            "value": "201464"
          }
        ],
        "command": "sudo prlimit --pid $$ --nofile=201464:201464   # for this shell and what it starts",
        "lasting": "in /etc/security/limits.d/90-tidemark.conf: * - nofile 201464   (a service: LimitNOFILE=201464)"
      }
    }
    "#);
}

#[test]
fn what_cannot_be_read_is_a_warning_and_not_a_verdict() {
    let checks = check(&million(), &silent_machine());
    assert_eq!(worst(&checks), Level::Warn);
    insta::assert_snapshot!("a_machine_that_tells_nothing", render(&checks));
}

#[test]
fn private_tables_lift_the_limit_and_are_advised_where_they_would_help() {
    let shared = Needs { connections: 40_000, workers: 1, source_addresses: 4, ..Needs::default() };
    let checks = check(&shared, &small_machine());
    let descriptors = named(&checks, "descriptors");
    assert_eq!(descriptors.level, Level::Fail);
    let advice = descriptors.fix.as_ref().and_then(|fix| fix.advice.clone()).expect("advice");
    assert!(advice.contains("private descriptor tables and at least 3 workers"), "{advice}");

    let private = Needs { workers: 3, private_fd_tables: true, ..shared };
    assert_eq!(named(&check(&private, &small_machine()), "descriptors").level, Level::Ok);

    let forbidden = Readings { can_be_private: false, ..small_machine() };
    let checks = check(&private, &forbidden);
    let descriptors = named(&checks, "descriptors");
    assert_eq!(descriptors.level, Level::Fail, "it would run on one shared table");
    assert_eq!(descriptors.fix.as_ref().expect("a fix").advice, None, "no advice that cannot work");
    assert_eq!(named(&checks, "fd tables").level, Level::Warn);
}

#[test]
fn addresses_and_target_ports_multiply_the_ephemeral_ports() {
    let level = |connections, source_addresses, target_ports, readings: &Readings| {
        let needs = Needs { connections, target_ports, source_addresses, ..Needs::default() };
        named(&check(&needs, readings), "ephemeral ports").level
    };
    let machine = small_machine();
    assert_eq!(level(14_000, 1, 1, &machine), Level::Ok);
    assert_eq!(level(28_232, 1, 1, &machine), Level::Warn, "the last half is slow to find");
    assert_eq!(level(28_233, 1, 1, &machine), Level::Fail);
    assert_eq!(level(28_000, 2, 1, &machine), Level::Ok);
    assert_eq!(level(28_000, 1, 2, &machine), Level::Ok);
    let reserved = Readings { reserved_ports: PortRanges::new([(40_000, 60_999)]), ..machine };
    assert_eq!(level(20_000, 1, 1, &reserved), Level::Fail, "reserved ports do not count");
}

#[test]
fn following_the_advice_on_ports_makes_the_check_pass() {
    let needs =
        Needs { connections: 30_000, served_ports: PortRanges::new([(7000, 7000)]), ..Needs::default() };
    let checks = check(&needs, &small_machine());
    let fix = named(&checks, "ephemeral ports").fix.clone().expect("a fix");
    insta::assert_snapshot!(fix.lines().join("\n"), @r#"
    # without privileges: at least 3 source addresses (on loopback any of 127.0.0.0/8) or 3 target ports
    sudo sysctl -w net.ipv4.ip_local_reserved_ports=7000
    # to last, in /etc/sysctl.d/90-tidemark.conf: net.ipv4.ip_local_reserved_ports = 7000
    sudo sysctl -w net.ipv4.ip_local_port_range="1024 65535"
    # to last, in /etc/sysctl.d/90-tidemark.conf: net.ipv4.ip_local_port_range = 1024 65535
    "#);
    let widened = Readings {
        port_range: Some((1024, 65535)),
        reserved_ports: PortRanges::new([(7000, 7000)]),
        ..small_machine()
    };
    let checks = check(&needs, &widened);
    assert_eq!(named(&checks, "ephemeral ports").level, Level::Ok);
    assert_eq!(named(&checks, "served ports").is, "7000 reserved");
    let addressed = Needs { source_addresses: 3, ..needs };
    assert_eq!(named(&check(&addressed, &small_machine()), "ephemeral ports").level, Level::Ok);
}

#[test]
fn served_ports_inside_the_ephemeral_range_are_told() {
    let needs = Needs { served_ports: PortRanges::new([(7000, 7015)]), ..Needs::default() };
    let wide = Readings {
        port_range: Some((1024, 65535)),
        reserved_ports: PortRanges::new([(7000, 7003), (9000, 9000)]),
        ..small_machine()
    };
    let checks = check(&needs, &wide);
    let served = named(&checks, "served ports");
    assert_eq!((served.level, served.is.as_str()), (Level::Warn, "12 of 7000-7015 inside 1024-65535"));
    assert_eq!(
        render_settings(std::slice::from_ref(served)),
        "net.ipv4.ip_local_reserved_ports = 7000-7015,9000\n",
        "what was reserved stays so"
    );
}

#[test]
fn conntrack_fails_only_where_it_tracks() {
    let level = |count, max| {
        let table = Conntrack { count, max, ..Conntrack::default() };
        let readings = Readings { conntrack: Some(table), ..small_machine() };
        named(&check(&Needs { connections: 10_000, ..Needs::default() }, &readings), "conntrack").level
    };
    assert_eq!(level(5, 262_144), Level::Ok);
    assert_eq!(level(0, 9_999), Level::Warn);
    assert_eq!(level(1, 10_000), Level::Fail, "what is tracked already counts");
    let without = check(&Needs::default(), &small_machine());
    assert!(without.iter().all(|check| check.name != "conntrack"));
}

#[test]
fn sockets_that_share_buckets_are_told() {
    let check = |connections, buckets| {
        let readings = Readings { tcp_ehash_buckets: buckets, ..small_machine() };
        let checks = check(&Needs { connections, ..Needs::default() }, &readings);
        checks.into_iter().find(|check| check.name == "socket hash")
    };
    let level = |connections, buckets| check(connections, Some(buckets)).map(|check| check.level);
    assert_eq!(level(262_144, 262_144), Some(Level::Ok));
    assert_eq!(level(262_145, 262_144), Some(Level::Warn));
    assert_eq!(level(1_000_000, 2_097_152), Some(Level::Ok), "as advised");
    assert_eq!(level(1_000_000_000, 1 << 24), Some(Level::Ok), "the kernel makes no larger one");
    assert_eq!(check(1_000_000, None), None);
    let fix = check(1_000_000, Some(262_144)).and_then(|check| check.fix).expect("a fix");
    insta::assert_snapshot!(fix.lines().join("\n"), @r"
    sudo sysctl -w net.ipv4.tcp_child_ehash_entries=2097152   # for network namespaces made from then on, such as those of containers
    # to last, and for the machine itself, on the kernel's command line: thash_entries=2097152
    ");
}

#[test]
fn each_role_sees_its_own_checks() {
    let names = |role| {
        let needs = Needs { role, loopback: false, ..Needs::default() };
        check(&needs, &small_machine()).iter().map(|check| check.name).collect::<Vec<_>>()
    };
    assert!(!names(Role::Server).contains(&"ephemeral ports"));
    assert!(names(Role::Server).contains(&"listen backlog"));
    assert!(names(Role::Loadgen).contains(&"ephemeral ports"));
    assert!(!names(Role::Loadgen).contains(&"listen backlog"));
    let both = names(Role::Both);
    assert!(both.contains(&"ephemeral ports") && both.contains(&"listen backlog"));
}

#[test]
fn both_ends_on_one_machine_need_twice_the_memory() {
    let need = |role, loopback| {
        let needs = Needs { role, loopback, connections: 1_000_000, ..Needs::default() };
        named(&check(&needs, &small_machine()), "socket memory").need.clone()
    };
    assert_eq!(need(Role::Server, false), "5.2 GB");
    assert_eq!(need(Role::Server, true), "10.4 GB");
    assert_eq!(need(Role::Both, false), "10.4 GB");
}

#[test]
fn workers_beyond_the_cpus_are_told_where_one_end_is_elsewhere() {
    let needs = Needs { role: Role::Loadgen, loopback: false, workers: 4, ..Needs::default() };
    let checks = check(&needs, &small_machine());
    let cpus = named(&checks, "CPUs");
    assert_eq!((cpus.level, &cpus.fix), (Level::Warn, &Some(Fix::advice("use 2 workers"))));
}

#[test]
fn this_machine_can_be_read_and_judged() {
    let checks = check(&Needs::default(), &Readings::take());
    assert!(checks.len() >= 12);
    assert!(checks.iter().filter(|check| check.is == "unknown").count() <= 1, "{}", render(&checks));
}

#[test]
fn levels_are_ordered_and_serialize_as_words() {
    assert!(Level::Ok < Level::Warn && Level::Warn < Level::Fail);
    assert_eq!(worst(&[]), Level::Ok);
    let words = serde_json::to_string(&[Level::Ok, Level::Warn, Level::Fail]).expect("plain data");
    assert_eq!(words, r#"["ok","warn","fail"]"#);
}

prop_compose! {
    fn any_needs()(
        role in prop_oneof![Just(Role::Server), Just(Role::Loadgen), Just(Role::Both)],
        numbers: [u64; 5], flags: [bool; 2], port: u16, span in 0u16..100,
    ) -> Needs {
        let [connections, workers, target_ports, source_addresses, backlog] = numbers;
        let [private_fd_tables, loopback] = flags;
        let served_ports = PortRanges::new([(port, port.saturating_add(span))]);
        Needs { role, connections, workers, private_fd_tables, loopback, target_ports, source_addresses, backlog, served_ports }
    }
}

prop_compose! {
    fn any_readings()(
        numbers: [u64; 11], tcp_mem: [u64; 3], can_be_private: bool, range: (u16, u16), reserved: Vec<(u16, u16)>,
    ) -> Readings {
        Readings {
            nofile: Nofile { soft: 0, hard: numbers[0] },
            can_be_private,
            nr_open: Some(numbers[1]),
            file_max: Some(numbers[2]),
            files_open: Some(numbers[3]),
            port_range: Some(range),
            reserved_ports: PortRanges::new(reserved),
            memory_available_bytes: Some(numbers[4]),
            tcp_mem_pages: Some(tcp_mem),
            tcp_mem_used_pages: Some(numbers[5]),
            conntrack: Some(Conntrack { count: numbers[6], max: numbers[7], ..Conntrack::default() }),
            somaxconn: Some(numbers[8]),
            cpus: Some(numbers[9]),
            tcp_ehash_buckets: Some(numbers[10]),
            ..small_machine()
        }
    }
}

proptest! {
    #[test]
    fn no_figures_make_a_check_panic_and_only_good_ones_need_no_advice(
        needs in any_needs(), readings in any_readings(),
    ) {
        let checks = check(&needs, &readings);
        prop_assert!(!render(&checks).is_empty());
        for check in checks {
            prop_assert_eq!(check.level == Level::Ok, check.fix.is_none(), "{:?}", check);
        }
    }
}
