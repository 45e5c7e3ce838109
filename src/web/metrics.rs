//! `/metrics`, on a listener of its own: what the server and the gateway count, in the format of OpenMetrics.
//!
//! The server is asked when somebody scrapes, and counts nothing for it. No series is a client's. Those of sessions are
//! there when asked for, because each session begins new ones.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::sync::Mutex;

use super::{Gateway, process::ProcessFigures};
#[cfg(feature = "nodes")]
use crate::nodes::{NodeFigure, figures_soon};
use crate::{
    Client,
    client::{Figure, FigureKind, SERVER_FIGURES, SESSION_FIGURES},
    message::ServerStats,
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the gateway counts: each with one addition where it happens, none for each message.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Pages that were let in.
    pub(super) viewers: AtomicU64,
    /// Pages whose link was refused.
    pub(super) refused: AtomicU64,
}

/// The connection that the figures come over.
#[derive(Debug, Default)]
pub(super) struct Scrapes(Mutex<Option<Client>>);

impl Scrapes {
    /// What the server counts now; `None` if there is no server. One scrape at a time.
    async fn stats(&self, gateway: &Gateway) -> Option<ServerStats> {
        let mut client = self.0.lock().await;
        let mut found = client.take();
        if let Some(known) = &mut found
            && let Ok(stats) = known.stats().await
        {
            *client = found;
            return Some(stats);
        }
        let mut connected = gateway.connector.connect().await.ok()?;
        let stats = connected.stats().await.ok();
        *client = stats.is_some().then_some(connected);
        stats
    }
}

pub(super) fn routes() -> Router<Arc<Gateway>> {
    Router::new().route("/metrics", get(metrics))
}

async fn metrics(State(gateway): State<Arc<Gateway>>) -> Response {
    let stats = gateway.scrapes.stats(&gateway).await;
    let figures = Figures {
        stats,
        with_sessions: gateway.session_metrics,
        viewers: gateway.viewers(),
        most: gateway.most,
        // Relaxed: each stands for itself.
        admitted: gateway.counts.viewers.load(Relaxed),
        refused: gateway.counts.refused.load(Relaxed),
    };
    let mut registry = Registry::default();
    #[cfg(feature = "nodes")]
    if let Some(figures) = figures_soon(&gateway.socket).await {
        registry.sub_registry_with_prefix("fugue_node").register_collector(Box::new(OfNode(figures)));
    }
    registry.sub_registry_with_prefix("fugue").register_collector(Box::new(figures));
    // Under the names that all exporters have for these.
    registry.sub_registry_with_prefix("process").register_collector(Box::new(ProcessFigures::now()));
    let mut text = String::new();
    match text::encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(fmt::Error) => axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// All that one scrape is told.
#[derive(Debug)]
struct Figures {
    stats: Option<ServerStats>,
    with_sessions: bool,
    viewers: usize,
    most: usize,
    admitted: u64,
    refused: u64,
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        use FigureKind::{Counter, Gauge};

        let own = [
            ("up", Gauge, "Whether the server answers: 1 or 0.", u64::from(self.stats.is_some())),
            ("web_viewers", Gauge, "Pages that are connected.", self.viewers as u64),
            ("web_viewers_max", Gauge, "Pages that there is room for.", self.most as u64),
            ("web_admitted", Counter, "Pages that were let in.", self.admitted),
            ("web_refused", Counter, "Pages whose link was not valid.", self.refused),
        ];
        for (name, kind, help, value) in own {
            sample(&mut encoder, &Figure { name, kind, help, value: () }, value)?;
        }
        let Some(stats) = &self.stats else { return Ok(()) };
        for figure in &SERVER_FIGURES {
            sample(&mut encoder, figure, (figure.value)(stats))?;
        }
        for figure in SESSION_FIGURES.iter().filter(|_| self.with_sessions && !stats.sessions.is_empty()) {
            let value = |session| (figure.value)(stats, session);
            let samples: Vec<_> = stats.sessions.iter().map(|of| (of.name.as_str(), value(of))).collect();
            family(&mut encoder, (figure.name, figure.kind, figure.help), "session", &samples)?;
        }
        Ok(())
    }
}

/// What the node of this machine counts.
#[cfg(feature = "nodes")]
#[derive(Debug)]
struct OfNode(Vec<NodeFigure>);

#[cfg(feature = "nodes")]
impl Collector for OfNode {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for NodeFigure { name, kind, help, label, samples } in &self.0 {
            family(&mut encoder, (name, *kind, help), label, samples)?;
        }
        Ok(())
    }
}

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let figures = [
            ("open_fds", "Descriptors that the gateway has open.", self.descriptors),
            ("max_fds", "Descriptors that it may have open.", self.max_descriptors),
            ("resident_memory_bytes", "Memory of the gateway that is resident.", self.resident_bytes),
        ];
        for (name, help, value) in figures {
            // What the system does not tell has no sample.
            let Some(value) = value else { continue };
            sample(&mut encoder, &Figure { name, kind: FigureKind::Gauge, help, value: () }, value)?;
        }
        Ok(())
    }
}

/// A figure with a sample for each value of a label; without a label, with its one sample.
fn family<Of: AsRef<str>>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, kind, help): (&str, FigureKind, &str),
    label: &str,
    samples: &[(Of, u64)],
) -> Result<(), fmt::Error> {
    let metric_type = match kind {
        FigureKind::Counter => MetricType::Counter,
        FigureKind::Gauge => MetricType::Gauge,
    };
    let mut family = encoder.encode_descriptor(name, help, None, metric_type)?;
    for (of, value) in samples {
        let labels = [(label, of.as_ref())];
        let labels = if label.is_empty() { &[][..] } else { &labels[..] };
        let sample = family.encode_family(&labels)?;
        match kind {
            FigureKind::Counter => ConstCounter::new(*value).encode(sample)?,
            FigureKind::Gauge => ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX)).encode(sample)?,
        }
    }
    Ok(())
}

/// A figure with its one sample.
fn sample<Of>(
    encoder: &mut DescriptorEncoder<'_>,
    figure: &Figure<Of>,
    value: u64,
) -> Result<(), fmt::Error> {
    family(encoder, (figure.name, figure.kind, figure.help), "", &[("", value)])
}
