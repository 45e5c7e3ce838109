//! What all sessions are like, once a second, for all pages together.
//!
//! One connection of the gateway's own asks, and only while there is a page that wants to know. It asks for the list
//! and for nothing else; each page is told of those sessions that its link is for.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::Connector;
use crate::{Client, message::SessionInfo};

/// How often it is asked.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// The sessions as they were last seen; `None` before.
pub(super) type Seen = Option<Arc<Vec<SessionInfo>>>;

#[derive(Debug)]
pub(super) struct Overview {
    seen: watch::Sender<Seen>,
    wanted: Notify,
}

impl Overview {
    pub(super) fn new() -> Self {
        Self { seen: watch::Sender::new(None), wanted: Notify::new() }
    }

    /// What is seen from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<Seen> {
        let mut receiver = self.seen.subscribe();
        // What was seen may be of long ago.
        receiver.mark_unchanged();
        self.wanted.notify_one();
        receiver
    }

    /// Asks for as long as anybody wants to know.
    pub(super) async fn run(&self, connector: &Connector) {
        let mut client: Option<Client> = None;
        loop {
            while self.seen.receiver_count() == 0 {
                client = None;
                self.wanted.notified().await;
            }
            let listed = match &mut client {
                Some(client) => client.list().await.ok(),
                None => match connector.connect().await {
                    Ok(connected) => client.insert(connected).list().await.ok(),
                    Err(_) => None,
                },
            };
            match listed {
                Some(sessions) => drop(self.seen.send_replace(Some(Arc::new(sessions)))),
                // Those who watch see for themselves that the server is gone.
                None => client = None,
            }
            sleep(EVERY).await;
        }
    }
}
