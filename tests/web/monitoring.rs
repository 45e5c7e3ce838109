//! What `packaging/monitoring` has for Prometheus and Grafana: it names what a gateway tells, and works with the real
//! Prometheus where that is installed.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{gateway::*, metrics::scrape, support::*};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/monitoring").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("dashboard.json")).unwrap()
}

fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    dashboard["panels"].as_array().unwrap().iter()
}

/// Each query of the dashboard's panels, with the panel's title.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let targets = panels(dashboard).flat_map(|panel| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        targets.map(|target| (panel["title"].as_str().unwrap(), target["expr"].as_str().unwrap()))
    });
    targets.map(|(title, query)| (title.to_owned(), query.to_owned())).collect()
}

/// The rules, by their names and expressions.
fn alerts() -> Vec<(String, String)> {
    let text = read("alerts.yml");
    let mut found: Vec<(String, String)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            found.push((name.to_owned(), String::new()));
        } else if let Some(expression) = line.strip_prefix("expr: ") {
            found.last_mut().unwrap().1 = expression.to_owned();
        }
    }
    assert!(found.len() > 5 && found.iter().all(|(_, expression)| !expression.is_empty()), "{found:?}");
    found
}

/// The figures that an expression names.
fn figures(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric());
    words.filter(|word| word.starts_with("fugue_") || word.starts_with("process_"))
}

/// Told where a node runs, as it does in `tests/nodes`.
fn is_of_node(name: &str) -> bool {
    name.starts_with("fugue_node_")
}

#[test]
fn the_dashboard_has_the_form_that_grafana_takes() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36), "{}", dashboard["schemaVersion"]);
    assert!(dashboard["uid"].is_string() && dashboard["title"].is_string());
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let datasource = variables.iter().find(|variable| variable["name"] == "datasource").unwrap();
    assert_eq!((&datasource["type"], &datasource["query"]), (&"datasource".into(), &"prometheus".into()));

    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels {}", panel["id"]);
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24 && side("h") > 0, "{panel}");
        for cell in
            (side("x")..side("x") + side("w")).flat_map(|x| (0..side("h")).map(move |y| (x, side("y") + y)))
        {
            assert!(places.insert(cell), "{} lies over another panel", panel["title"]);
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(["stat", "timeseries"].iter().any(|kind| panel["type"] == *kind), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        let references: BTreeSet<_> = targets.iter().map(|target| target["refId"].to_string()).collect();
        assert!(!targets.is_empty() && references.len() == targets.len(), "{panel}");
        for of in targets.iter().chain([panel]) {
            assert_eq!(of["datasource"]["uid"], "${datasource}", "{}", panel["title"]);
        }
        assert!(panel["description"].as_str().is_some_and(|text| !text.is_empty()), "{panel}");
    }
    assert!(ids.len() > 20);
}

#[tokio::test]
async fn dashboard_and_alerts_name_what_a_gateway_tells_and_leave_nothing_out() {
    let server = TestServer::start();
    create(&mut server.client().await, "build", "exec sleep 1000").await;
    let (_gateway, metrics) = Gateway::with_metrics(&server, &["--session-metrics"]);
    let text = scrape(metrics).await;
    let told: BTreeSet<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    assert!(told.len() > 20, "{text}");

    let (dashboard, mut shown) = (dashboard(), BTreeSet::new());
    let queries = queries(&dashboard);
    for (title, query) in queries.iter().chain(&alerts()) {
        let named: Vec<_> = figures(query).collect();
        assert!(!named.is_empty(), "{title}: {query}");
        for name in named.into_iter().filter(|name| !is_of_node(name)) {
            assert!(told.contains(name), "{title}: {name} is not told: {told:?}");
        }
    }
    shown.extend(queries.iter().flat_map(|(_, query)| figures(query)));
    let left_out: Vec<_> = told.difference(&shown).collect();
    assert!(left_out.is_empty(), "no panel shows {left_out:?}");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        for name in variable["definition"].as_str().into_iter().flat_map(figures) {
            assert!(told.contains(name), "{name}");
        }
    }
}

/// Says so where a tool is not installed.
fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        eprintln!("not checked: {tool} is not installed (Debian: prometheus)");
    }
    found.is_ok()
}

#[test]
fn each_alert_is_a_rule_of_prometheus_and_fires_when_it_should() {
    let tests = read("alerts.test.yml");
    for (name, _) in alerts() {
        assert!(
            tests.contains(&format!("alertname=\"{name}\"")) || tests.contains(&format!("alertname: {name}"))
        );
    }
    if !has("promtool") {
        return;
    }
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let judged = Command::new("promtool").args(arguments).current_dir(path("")).output().unwrap();
        assert!(
            judged.status.success(),
            "{}",
            String::from_utf8_lossy(&[judged.stdout, judged.stderr].concat())
        );
    }
}

/// A Prometheus that ends with its test.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes this address each second, and has the alerts.
    fn start(scraped: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{}']\n\
             scrape_configs: [{{ job_name: fugue, static_configs: [{{ targets: ['{scraped}'] }}] }}]\n",
            path("alerts.yml").display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg("--config.file")
            .arg(config)
            .arg("--storage.tsdb.path")
            .arg(directory.path().join("data"));
        command.args(["--web.listen-address", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let (mut all, mut address) = (String::new(), None);
        while address.is_none() {
            let mut line = String::new();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended: {all}");
            let found = line.contains("Listening on").then(|| line.rsplit_once("address=")).flatten();
            address = found.and_then(|(_, address)| address.trim().parse().ok());
            all += &line;
        }
        // Whatever else it says is read, so that it never waits for that.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { child, address: address.unwrap(), _directory: directory }
    }

    async fn ask(&self, what: &str) -> Value {
        let request = format!("GET /api/v1/{what} HTTP/1.0");
        let (_, body) = ask(self.address, &[&request, &format!("Host: {}", self.address)]).await;
        serde_json::from_slice(&body).unwrap_or(Value::Null)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A query as Grafana would send it, with all that its variables may be.
fn sent(query: &str) -> String {
    let query = query.replace("$__rate_interval", "5m").replace("$instance", ".*").replace("$session", ".*");
    assert!(!query.contains('$'), "{query}");
    let encoded = query.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[tokio::test]
async fn prometheus_scrapes_the_gateway_and_answers_each_panel() {
    if !has("prometheus") {
        return;
    }
    let server = TestServer::start();
    create(&mut server.client().await, "build", "exec sleep 1000").await;
    let (_gateway, metrics) = Gateway::with_metrics(&server, &["--session-metrics"]);
    let prometheus = Prometheus::start(metrics);
    for (title, query) in queries(&dashboard()) {
        let request = format!("query?query={}", sent(&query));
        // A rate takes two scrapes.
        let answer = soon(async {
            loop {
                let answer = prometheus.ask(&request).await;
                let is_shown = answer["data"]["result"].as_array().is_some_and(|series| !series.is_empty());
                if is_shown || answer["status"] == "error" || figures(&query).any(is_of_node) {
                    return answer;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        });
        let answer = answer.await;
        assert_eq!(answer["status"], "success", "{title}: {query}: {answer}");
    }
    let (rules, expected) = (prometheus.ask("rules").await, alerts());
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), expected.len());
    for rule in rules {
        assert_eq!((&rule["state"], &rule["lastError"]), (&"inactive".into(), &Value::Null), "{rule}");
    }
}
