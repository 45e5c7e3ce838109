//! The carrier between machines: nats-server, which stores nothing and promises nothing here.
//!
//! A node has two connections, so that keys do not wait behind output. What a broker or a reader is too slow for is
//! lost, on both sides within bounds, and found by those who lack it. What is received is copied as it is decoded:
//! a message that is kept would keep the whole buffer that it was read into.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectOptions, Event, Message, ServerAddr, ServerError, Statistics, StatusCode, Subscriber,
};
use futures_util::{StreamExt, stream::SelectAll};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::task::AbortOnDropHandle;

use super::{
    carrier::{Carrier, CarrierEvent, CarrierMessage},
    figure::NodeFigure,
    subject::{Class, Lane, NodeName, Subject, Tenant, subscriptions},
};

/// Messages that are kept of one subscription until they are taken; more are dropped, and missed by their streams.
const SUBSCRIPTION_MESSAGES: usize = 256;

/// Messages that are kept until they are written to the connection: in the client, and before it.
const CLIENT_MESSAGES: usize = 128;
const OUTBOX_MESSAGES: usize = 16;

/// The longest message that a nats-server has to let through, at least. By itself it lets 1 MiB.
const LEAST_PAYLOAD: usize = 4096;

/// How long a connection may take.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// The pause before another connection is tried: at first and at most.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// How to reach a nats-server, and as whom.
#[derive(Clone, Debug)]
pub(crate) struct NatsConfig {
    /// One address, or several of one cluster.
    pub(crate) servers: Vec<NatsAddress>,
    /// A file with a user's credentials.
    pub(crate) creds: Option<PathBuf>,
    /// A file with the seed of an nkey.
    pub(crate) nkey: Option<PathBuf>,
    /// A file with the certificates to trust, in PEM, besides the system's.
    pub(crate) ca: Option<PathBuf>,
    /// A client's certificate and its key, in PEM.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// Without TLS, to any address.
    pub(crate) is_plain: bool,
}

/// The address of a nats-server: `nats://host:4222` or `tls://host:4222`.
#[derive(Clone, Debug)]
pub(crate) struct NatsAddress(ServerAddr);

impl std::str::FromStr for NatsAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = "write the address of a nats-server, such as nats://127.0.0.1:4222";
        let address: ServerAddr = text.parse().map_err(|_| rule)?;
        if address.is_websocket() || address.host().is_empty() { Err(rule) } else { Ok(Self(address)) }
    }
}

impl NatsAddress {
    /// Whether it is this machine.
    fn is_loopback(&self) -> bool {
        let host = self.0.host();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Why there is no connection to a nats-server.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NatsError {
    #[error("could not read {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("could not connect to nats-server: {0}")]
    NotConnected(#[from] async_nats::ConnectError),
    #[error(
        "nats-server lets messages of {0} bytes through, and nodes need {LEAST_PAYLOAD}: raise its max_payload"
    )]
    SmallPayload(usize),
    #[error("could not subscribe at nats-server: {0}")]
    NotSubscribed(#[from] async_nats::SubscribeError),
}

/// A node's two connections to nats-server. They are made again as they are lost.
#[derive(Debug)]
pub(crate) struct NatsCarrier {
    own: NodeName,
    tenant: Tenant,
    bulk: NatsLane,
    quick: NatsLane,
}

#[derive(Debug)]
struct NatsLane {
    client: Client,
    outbox: Sender<Published>,
    events: Receiver<CarrierEvent>,
    /// Messages that the client had no room for, as far as it says.
    dropped: Arc<AtomicU64>,
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// A message as NATS has it.
#[derive(Debug)]
struct Published {
    subject: String,
    reply: Option<String>,
    payload: bytes::Bytes,
}

impl NatsCarrier {
    /// Connects.
    ///
    /// # Errors
    /// [`NatsError`]: a file can't be read, or no server lets this node in.
    pub(crate) async fn connect(
        config: &NatsConfig,
        tenant: &Tenant,
        own: &NodeName,
    ) -> Result<Self, NatsError> {
        let bulk = NatsLane::connect(config, tenant, own, Lane::Bulk).await?;
        let quick = NatsLane::connect(config, tenant, own, Lane::Quick).await?;
        Ok(Self { own: own.clone(), tenant: tenant.clone(), bulk, quick })
    }

    fn lane(&self, lane: Lane) -> &NatsLane {
        match lane {
            Lane::Bulk => &self.bulk,
            Lane::Quick => &self.quick,
        }
    }

    /// What the two connections carried.
    pub(crate) fn figures(&self) -> Vec<NodeFigure> {
        let [bulk, quick] = [&self.bulk, &self.quick].map(|lane| (lane.client.statistics(), &lane.dropped));
        let counter = |name, help, value: fn(&Statistics) -> u64| {
            // Relaxed: each stands for itself.
            let samples = [("bulk", &bulk.0), ("quick", &quick.0)].map(|(lane, of)| (lane, value(of)));
            NodeFigure::counter(name, help, "lane", &samples)
        };
        let dropped = [("bulk", bulk.1.load(Relaxed)), ("quick", quick.1.load(Relaxed))];
        vec![
            counter("messages_sent", "Messages to nats-server.", |of| of.out_messages.load(Relaxed)),
            counter("sent_bytes", "Bytes of them.", |of| of.out_bytes.load(Relaxed)),
            counter("messages_received", "Messages from nats-server.", |of| of.in_messages.load(Relaxed)),
            counter("received_bytes", "Bytes of them.", |of| of.in_bytes.load(Relaxed)),
            counter("connects", "Times that a connection was made.", |of| of.connects.load(Relaxed)),
            NodeFigure::counter(
                "dropped",
                "Messages from nats-server that came too fast, at least.",
                "lane",
                &dropped,
            ),
        ]
    }

    /// Completes once there is room for a message of this lane.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) fn room(&self, lane: Lane) -> impl Future<Output = ()> + use<> {
        let outbox = self.lane(lane).outbox.clone();
        async move {
            if outbox.reserve().await.is_err() {
                // Its task is over, as when the carrier is dropped.
                std::future::pending().await
            }
        }
    }

    /// Completes once what was published on the quick connection is written to it.
    pub(crate) async fn flush(&self) {
        // All that there is room for means that all before is with the client, which is asked to write it.
        let _all = self.quick.outbox.reserve_many(OUTBOX_MESSAGES).await;
        let _ = self.quick.client.flush().await;
    }
}

impl Carrier for NatsCarrier {
    fn has_room(&self, lane: Lane) -> bool {
        self.lane(lane).outbox.capacity() > 0
    }

    fn publish(&mut self, CarrierMessage { subject, reply, payload }: CarrierMessage) {
        let number = reply.map(Class::Reply).zip(subject.to.as_ref());
        let reply = number.map(|(class, to)| Subject::new(class, &self.own, to).in_tenant(&self.tenant));
        let lane = self.lane(subject.class.lane());
        let subject = subject.in_tenant(&self.tenant);
        // There is room, as was asked for; what finds none is lost, as it may be anywhere.
        let _ = lane.outbox.try_send(Published { subject, reply, payload });
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CarrierEvent> {
        for lane in [&mut self.quick, &mut self.bulk] {
            if let Poll::Ready(Some(event)) = lane.events.poll_recv(context) {
                return Poll::Ready(event);
            }
        }
        Poll::Pending
    }
}

impl NatsLane {
    async fn connect(
        config: &NatsConfig,
        tenant: &Tenant,
        own: &NodeName,
        lane: Lane,
    ) -> Result<Self, NatsError> {
        let (news, told) = mpsc::channel(16);
        let kind = if lane == Lane::Bulk { "bulk" } else { "quick" };
        let options = config.options().await?.name(format!("fugue-server node {own} ({kind})"));
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        let options = options.event_callback(move |event| {
            let news = news.clone();
            if let Event::SlowConsumer(_) = event {
                // Relaxed: it stands for itself.
                counted.fetch_add(1, Relaxed);
            }
            async move {
                let _ = news.send(event).await;
            }
        });
        let servers: Vec<_> = config.servers.iter().map(|address| address.0.clone()).collect();
        let client = options.connect(servers).await?;
        if client.max_payload() < LEAST_PAYLOAD {
            return Err(NatsError::SmallPayload(client.max_payload()));
        }
        let mut subscribers = SelectAll::new();
        for subject in subscriptions(lane, tenant, own) {
            subscribers.push(client.subscribe(subject).await?);
        }
        let (outbox, published) = mpsc::channel(OUTBOX_MESSAGES);
        let (sender, events) = mpsc::channel(SUBSCRIPTION_MESSAGES);
        let reader = Reader {
            lane,
            client: client.clone(),
            tenant: tenant.clone(),
            told,
            subscribers,
            sender,
            lost: None,
        };
        let tasks = [
            AbortOnDropHandle::new(tokio::spawn(write(client.clone(), published))),
            AbortOnDropHandle::new(tokio::spawn(reader.run())),
        ];
        Ok(Self { client, outbox, events, dropped, _tasks: tasks })
    }
}

/// Publishes what is to be published, for as long as somebody may say so.
async fn write(client: Client, mut published: Receiver<Published>) {
    while let Some(Published { subject, reply, payload }) = published.recv().await {
        let sent = match reply {
            Some(reply) => client.publish_with_reply(subject, reply, payload).await,
            None => client.publish(subject, payload).await,
        };
        if let Err(error) = sent {
            tracing::warn!(%error, "nats-server was not given a message");
        }
    }
}

/// What comes on one connection.
struct Reader {
    lane: Lane,
    client: Client,
    tenant: Tenant,
    told: Receiver<Event>,
    subscribers: SelectAll<Subscriber>,
    sender: Sender<CarrierEvent>,
    lost: Option<Instant>,
}

impl Reader {
    async fn run(mut self) {
        if self.connected().await.is_none() {
            return;
        }
        loop {
            let told = tokio::select! {
                biased;
                Some(event) = self.told.recv() => self.tell(event).await,
                Some(message) = self.subscribers.next() => match read(&message, &self.tenant) {
                    Some(event) => self.sender.send(event).await.ok(),
                    None => Some(()),
                },
                else => return,
            };
            if told.is_none() {
                return;
            }
        }
    }

    async fn connected(&self) -> Option<()> {
        let (lane, max_payload) = (self.lane, self.client.max_payload());
        self.sender.send(CarrierEvent::Connected { lane, max_payload }).await.ok()
    }

    async fn tell(&mut self, event: Event) -> Option<()> {
        let lane = self.lane;
        match event {
            Event::Connected => {
                let lost_seconds = self.lost.take().map(|lost| lost.elapsed().as_secs());
                tracing::info!(?lane, lost_seconds, "nats-server is there");
                self.connected().await
            }
            Event::Disconnected | Event::Closed => {
                self.lost.get_or_insert_with(Instant::now);
                tracing::warn!(?lane, "nats-server is lost");
                self.sender.send(CarrierEvent::Disconnected { lane }).await.ok()
            }
            Event::SlowConsumer(_) => Some(()),
            // Each try to connect again that fails: that it is lost was said.
            Event::ClientError(error) => {
                tracing::debug!(?lane, %error, "nats-server is not there");
                Some(())
            }
            Event::ServerError(ServerError::Other(text)) => {
                tracing::warn!(?lane, %text, "nats-server refuses");
                match denied(&text, &self.tenant) {
                    Some(subject) => self.sender.send(CarrierEvent::Denied(subject)).await.ok(),
                    None => Some(()),
                }
            }
            event => {
                tracing::warn!(?lane, %event, "nats-server says");
                Some(())
            }
        }
    }
}

/// The subject that a broker does not let this node publish to, if it says so.
fn denied(text: &str, tenant: &Tenant) -> Option<Subject> {
    let (what, rest) = text.split_once('"')?;
    let is_it = what.to_ascii_lowercase().contains("permissions violation for publish");
    Subject::parse(rest.split('"').next()?, tenant).filter(|_| is_it)
}

/// A message of NATS as what it is here; `None` of what is none.
fn read(message: &Message, tenant: &Tenant) -> Option<CarrierEvent> {
    let subject = Subject::parse(&message.subject, tenant)?;
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        let Class::Reply(reply) = subject.class else { return None };
        return Some(CarrierEvent::NobodyThere { to: subject.from, reply });
    }
    let reply = message.reply.as_ref().and_then(|reply| Subject::parse(reply, tenant));
    let reply = match reply {
        // An answer goes to the one who asks, and to nobody else.
        Some(Subject { class: Class::Reply(number), to, .. }) if to.as_ref() == Some(&subject.from) => {
            Some(number)
        }
        _ => None,
    };
    Some(CarrierEvent::Message(CarrierMessage { subject, reply, payload: message.payload.clone() }))
}

impl NatsConfig {
    /// Whether it is written in the clear to another machine, which it is only if that was asked for.
    pub(crate) fn is_exposed(&self) -> bool {
        self.is_plain && !self.servers.iter().all(NatsAddress::is_loopback)
    }

    async fn options(&self) -> Result<ConnectOptions, NatsError> {
        let mut options = ConnectOptions::new()
            .subscription_capacity(SUBSCRIPTION_MESSAGES)
            .client_capacity(CLIENT_MESSAGES)
            .connection_timeout(CONNECT_TIME)
            .skip_subject_validation(true)
            // What a broker says of others has not been looked at.
            .ignore_discovered_servers()
            .max_reconnects(None)
            .reconnect_delay_callback(|attempts| {
                let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(6);
                (FIRST_RETRY * (1 << doublings)).min(LAST_RETRY)
            });
        let is_local = self.servers.iter().all(NatsAddress::is_loopback);
        if !is_local && !self.is_plain {
            options = options.require_tls(true);
        }
        // The client looks for them in its options only.
        if let Some(address) = self.servers.iter().find(|address| address.0.has_user_pass()) {
            // In a URL some letters stand encoded, such as %40.
            let [user, password] = [address.0.username(), address.0.password()]
                .map(|part| part.map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()));
            options = match (user, password) {
                (Some(user), Some(password)) => options.user_and_password(user, password),
                // A user alone is a token.
                (token, _) => options.token(token.unwrap_or_default()),
            };
        }
        if let Some(creds) = &self.creds {
            options = options.credentials_file(creds).await.map_err(failed(creds))?;
        }
        if let Some(nkey) = &self.nkey {
            let seed = std::fs::read_to_string(nkey).map_err(failed(nkey))?;
            options = options.nkey(seed.trim().to_owned());
        }
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let Some((certificate, key)) = &self.identity {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        Ok(options)
    }
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> NatsError + use<> {
    let path = path.to_owned();
    move |source| NatsError::File { path: path.clone(), source }
}
