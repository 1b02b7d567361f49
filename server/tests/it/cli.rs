//! The command line: help, wrong use, and what the user is told.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidemark-server")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn help_is_what_users_have_come_to_know() {
    let help = run(&["serve", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    insta::assert_snapshot!("serve_help", text(&help.stdout));
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    insta::assert_snapshot!("help", text(&help.stdout));
}

#[test]
fn wrong_use_is_exit_code_2_and_names_what_is_wrong() {
    for (args, says) in [
        (&["serve", "--no-such-flag"][..], "--no-such-flag"),
        (&["serve", "--drain-timeout", "soon"], "500ms, 10s or 1m"),
        (&["serve", "--echo", "localhost:7000"], "ADDR:PORT-PORT"),
        (&["serve", "--engine", "threads"], "epoll"),
        (&["serve", "--max-connections", "0"], "not in 1.."),
        (&["serve", "--echo", "127.0.0.1:7000", "--http", "127.0.0.1:7000"], "same port"),
        (&["serve", "--echo", "127.0.0.1:1-1000"], "smaller port ranges"),
        (&["healthcheck", "ftp://here"], "http://HOST[:PORT][/PATH]"),
        (&["fly"], "fly"),
        (&[], "Usage"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(says), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

/// A file with this text, and the flags that name it.
fn file(directory: &tempfile::TempDir, text: &str) -> String {
    let path = directory.path().join("server.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_file_says_what_flags_say_and_flags_win() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(
        &directory,
        "# ours\nmax_connections = 500\necho = [\"127.0.0.1:0\"]\nidle_timeout = \"5s\"\npin = true\n",
    );
    let output = run(&["serve", "--config", &path, "--max-connections", "700", "--print-config"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    insta::assert_snapshot!("print_config", printed);
    // What is printed is a file that says the same.
    let again = file(&directory, &printed);
    let output = run(&["serve", "--config", &again, "--print-config"]);
    let settings = |printed: &str| -> Vec<String> {
        printed.lines().map(|line| line.split(" # ").next().unwrap().trim_end().to_owned()).collect()
    };
    assert_eq!(settings(&text(&output.stdout)), settings(&printed));
}

#[test]
fn a_bad_file_is_one_line_with_the_place_and_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    for (contents, says) in [
        ("\nmax_conections = 5\n", ":2: unknown key `max_conections`; did you mean `max_connections`?"),
        ("backlog = 0\n", ":1: invalid value '0' for '--backlog <N>'"),
        ("echo = [\"127.0.0.1:0\"\n", ":"),
    ] {
        let path = file(&directory, contents);
        let output = run(&["serve", "--config", &path]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.starts_with(&format!("error: {path}{says}")) && error.lines().count() == 1, "{error}");
    }
    let output = run(&["serve", "--config", "/nowhere.toml"]);
    assert_eq!(text(&output.stderr), "error: /nowhere.toml: No such file or directory (os error 2)\n");
}

#[test]
fn what_the_host_does_not_allow_is_exit_code_4_and_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, says) in [
        (&["serve", "--echo", &taken, "--admin", "127.0.0.1:0"][..], "the port is in use"),
        (&["serve", "--echo", "127.0.0.1:0", "--admin", &taken], "the port is in use"),
        (&["serve", "--echo", "192.0.2.1:0", "--admin", "127.0.0.1:0"], "no interface has this address"),
        (
            &["serve", "--echo", "127.0.0.1:0", "--workers", "1", "--max-connections", "1000000000"],
            "--max-connections 1000000000 does not fit",
        ),
        (&["healthcheck", "http://127.0.0.1:1/ready"], "is the server running"),
    ] {
        let output = run(args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{args:?}: {error}");
        let errors: Vec<_> = error.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].contains(says), "{args:?}: {error}");
    }
}

#[test]
fn doctor_prints_its_table() {
    let output = run(&["doctor", "--connections", "100"]);
    let table = text(&output.stdout);
    assert!(table.lines().count() > 3, "{table}");
    assert!(matches!(output.status.code(), Some(0 | 4)), "{table}");
}
