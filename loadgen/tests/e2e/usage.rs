//! Wrong input: one clear error, exit 2, nothing on standard output.

use crate::processes::Loadgen;

#[track_caller]
fn assert_told(args: &str, texts: &[&str]) {
    let args: Vec<&str> = args.split_whitespace().collect();
    let finished = Loadgen::new().invoke(&args);
    assert_eq!(finished.code, Some(2), "{args:?}: {finished:?}");
    assert_eq!(finished.stdout, "", "{args:?}");
    let told = finished
        .stderr
        .lines()
        .filter(|line| line.starts_with("error:") || line.starts_with("tidemark-loadgen:"));
    assert_eq!(told.count(), 1, "{args:?}: {}", finished.stderr);
    for text in texts {
        assert!(finished.stderr.contains(text), "{args:?}: {text:?} is not in {}", finished.stderr);
    }
}

#[test]
fn unknown_flags_and_commands_are_told() {
    assert_told("run 127.0.0.1:1 --conections 4", &["--conections", "--connections"]);
    assert_told("rum 127.0.0.1:1", &["rum"]);
    assert_told("run", &["<TARGET>"]);
}

#[test]
fn values_that_make_no_sense_are_told_with_what_would() {
    assert_told("run 127.0.0.1:1 -d 10parsecs", &["--duration", "250ms, 10s or 5m"]);
    assert_told("run 127.0.0.1:1 -d 0s", &["--duration", "longer than 0"]);
    assert_told("run 127.0.0.1:1 -d 2days", &["--duration", "longer than a day"]);
    for interval in ["5ms", "2m", "10500us"] {
        let args = format!("run 127.0.0.1:1 --interval {interval}");
        assert_told(&args, &["--interval", "a whole number of milliseconds from 10ms to 1m"]);
    }
    assert_told(
        "run 127.0.0.1:1 -d 1h --interval 10ms",
        &["360000 intervals", "at most 100000", "--interval"],
    );
    for rate in ["0", "nan", "inf", "1e99", "fast"] {
        assert_told(&format!("run 127.0.0.1:1 -r {rate}"), &["--rate", "a number above 0"]);
    }
    assert_told("run 127.0.0.1:1 --rate=-5", &["--rate", "a number above 0"]);
    assert_told("run 127.0.0.1:1 -c 0", &["--connections"]);
    assert_told("run 127.0.0.1:1 --payload 0", &["--payload", "at least one byte"]);
    assert_told("run 127.0.0.1:1 --json report.json", &["--json"]);
    assert_told("run 127.0.0.1:1 --pin 99999", &["--pin"]);
    assert_told("run 127.0.0.1:1 --source nowhere", &["--source"]);
    assert_told("run 127.0.0.1:1 --nodelay yes", &["--nodelay", "on, off"]);
    assert_told("run 127.0.0.1:1 --send-buffer 0", &["--send-buffer", "1..=1073741823"]);
    assert_told("run 127.0.0.1:1 --receive-buffer 64K", &["--receive-buffer"]);
    assert_told("run 127.0.0.1:1 --linger 5s", &["--linger", "fin, reset"]);
    assert_told("run 127.0.0.1:1 --metrics 9465", &["--metrics", "127.0.0.1:9465"]);
    assert_told("run 127.0.0.1:1 --metrics-linger 1s", &["--metrics <ADDR:PORT>"]);
}

#[test]
fn rates_without_sense_are_told_with_their_fix() {
    assert_told("run 127.0.0.1:1 --arrival constant", &["--rate"]);
    assert_told("run 127.0.0.1:1 --arrival closed -r 100", &["closed has no rate"]);
}

#[test]
fn targets_that_are_none_are_told_with_how_to_write_one() {
    for target in ["nonsense", "udp://127.0.0.1:1", "127.0.0.1:0", "127.0.0.1:99999", "tcp://127.0.0.1:9-8"] {
        assert_told(&format!("run {target}"), &["tcp://HOST:PORT"]);
    }
    assert_told("run https://127.0.0.1/", &["TLS"]);
    assert_told("run [fe80::1]:1", &["needs its interface", "[fe80::1%eth0]:7000"]);
    assert_told("run [fe80::1%no-such-link]:1", &["fe80::1%no-such-link", "cannot be resolved"]);
    assert_told("run name.invalid:1", &["name.invalid", "cannot be resolved"]);
}

#[test]
fn rules_that_are_none_are_told_with_their_place() {
    assert_told(
        "run 127.0.0.1:1 --slo respons.p99<2ms",
        &["--slo", "column 1", "did you mean response.p99?"],
    );
    assert_told("run 127.0.0.1:1 --slo response.p99<2", &["--slo", "column 14", "2ms"]);
    assert_told("run 127.0.0.1:1 --slo mian.lost==0", &["--slo", "did you mean main?"]);
}

#[test]
fn searches_that_make_no_sense_are_told_with_what_would() {
    assert_told("search 127.0.0.1:1 --slo lost==0", &["--find"]);
    assert_told("search 127.0.0.1:1 --find latency --slo lost==0", &["--find", "connections"]);
    assert_told("search 127.0.0.1:1 --find rate", &["--slo 'response.p99 < 2ms'"]);
    assert_told("search 127.0.0.1:1 --find rate --slo lost==0 -r 100", &["--rate", "--from"]);
    assert_told("search 127.0.0.1:1 --find rate --slo lost==0 --arrival closed", &["closed has no rate"]);
    assert_told("search 127.0.0.1:1 --find connections --slo lost==0 -c 100", &["--connections", "--from"]);
    assert_told("search 127.0.0.1:1 --find rate --slo lost==0 --max 10", &["--max 10", "1000"]);
    assert_told("search 127.0.0.1:1 --find rate --slo mian.lost==0", &["did you mean main?"]);
    for resolution in ["0", "0.01%", "101%", "fine", "nan"] {
        let args = format!("search 127.0.0.1:1 --find rate --slo lost==0 --resolution {resolution}");
        assert_told(&args, &["--resolution", "5%"]);
    }
}
