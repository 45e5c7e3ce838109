//! `bench` verifies what it measures.

use super::*;

#[test]
fn a_small_bench_verifies_every_byte_and_reports_by_name() {
    let home = Home::new();
    let report = home.json(&[
        "bench",
        "--bytes",
        "2MiB",
        "--viewers",
        "4",
        "--stalled",
        "1",
        "--shards",
        "2",
        "--json",
    ]);
    assert_eq!((&report["verified"], &report["lost_bytes"]), (&Value::from(true), &Value::from(0)));
    assert_eq!((&report["viewers"], &report["stalled"]), (&Value::from(4), &Value::from(1)));
    assert_eq!((&report["bytes"], &report["shards"]), (&Value::from(2 << 20), &Value::from(2)));
    for positive in ["seconds", "pty_mib_per_s", "baseline_mib_per_s", "delivered_mib_per_s"] {
        assert!(report[positive].as_f64() > Some(0.0), "{positive}: {report}");
    }
    for count in ["messages", "writes", "peak_rss_bytes"] {
        assert!(report[count].as_u64() > Some(0), "{count}: {report}");
    }
    for percentile in ["p50", "p90", "p99", "p999", "max"] {
        assert!(report["latency_us"][percentile].as_u64() > Some(0), "{percentile}: {report}");
    }
}

#[test]
fn woken_viewers_show_the_true_screen_and_keystrokes_are_timed() {
    let arguments =
        ["bench", "--bytes", "24MiB", "--viewers", "3", "--stalled", "2", "--wake", "--echo", "--json"];
    let report = Home::new().json(&arguments);
    assert_eq!((&report["verified"], &report["woken"]), (&Value::from(true), &Value::from(2)));
    assert!(report["woken_gaps"].as_u64() >= Some(2), "{report}");
    for echo in ["echo_idle_us", "echo_flood_us"] {
        assert!(
            report[echo]["count"].as_u64() > Some(0) && report[echo]["p99"].as_u64() > Some(0),
            "{report}"
        );
    }
}

#[test]
fn a_bench_that_is_not_done_in_time_fails_and_says_so() {
    let output = Home::new().run(&["bench", "--bytes", "8GiB", "--viewers", "1", "--timeout", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("took too long"), "{output:?}");
}

#[test]
fn a_bench_prints_a_table_for_people() {
    let table = Home::new().succeed(&["bench", "--bytes", "256KiB", "--viewers", "2"]);
    for row in ["verified", "lost", "baseline", "latency"] {
        assert!(table.contains(row), "{table}");
    }
}

#[test]
fn stalled_viewers_that_leave_none_to_read_are_refused() {
    let output = Home::new().run(&["bench", "--viewers", "4", "--stalled", "4"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("choose fewer"), "{complaint}");
}
