//! Clients over streams of the embedder's own.
//!
//! A connection is made for sockets: it writes what the kernel takes, and an idle one holds next to nothing. So a
//! stream is joined to one end of a pair of sockets, and a connection serves the other end as any client's. That costs
//! such a client two descriptors and two copies, and a socket's client nothing.

use std::{future::pending, panic::resume_unwind, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, WriteHalf, copy, split},
    net::UnixStream,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::{
    ServerState,
    clients::Clients,
    connection::{self, refusal},
};

/// How long a stream has to take what its connection wrote before it ended.
const LINGER: Duration = Duration::from_secs(5);

impl Clients {
    /// Serves a client over any stream: a pipe, a connection with TLS, one end of `tokio::io::duplex`. Completes when
    /// the connection has ended.
    ///
    /// The client is one like any other: it counts against the limit, and is listed, disconnected and told of a
    /// shutdown as the others are. **It may do all that this user may.** No kernel says who is at the other end, so
    /// whoever opens the stream vouches for it.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection.
    ///
    /// # Panics
    /// Outside a Tokio runtime with I/O and time enabled, and if the stream panics.
    ///
    /// # Examples
    /// ```
    /// use fugue_server::{Client, Server};
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// # let directory = tempfile::tempdir()?;
    /// let server = Server::builder(directory.path().join("fugue/server.sock")).bind()?;
    /// let clients = server.clients();
    /// tokio::spawn(server.serve(std::future::pending()));
    ///
    /// let (near, far) = tokio::io::duplex(64 * 1024);
    /// tokio::spawn(async move { clients.serve_connection(far).await });
    /// let mut client = Client::from_stream(near).await?;
    /// assert!(client.list().await?.is_empty());
    /// # anyhow::Ok(()) })?;
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub async fn serve_connection(&self, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
        let shared = self.shared();
        let task = shared.connections.spawn(serve(Arc::clone(shared), stream));
        if let Err(error) = AbortOnDropHandle::new(task).await
            && let Ok(panic) = error.try_into_panic()
        {
            resume_unwind(panic);
        }
    }
}

async fn serve(shared: Arc<ServerState>, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
    if shared.closing.is_cancelled() {
        let (_, mut write) = split(stream);
        return tell(&mut write, &refusal("the server is shutting down".to_owned())).await;
    }
    tokio::select! {
        biased;
        () = shared.connections.aborted() => {}
        () = serve_until_it_ends(&shared, stream) => {}
    }
}

async fn serve_until_it_ends(
    shared: &Arc<ServerState>,
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
) {
    let (mut read, mut write) = split(stream);
    let place = match shared.connections.place() {
        Ok(place) => place,
        Err(refusal) => return tell(&mut write, &refusal).await,
    };
    let (served, near) = match UnixStream::pair() {
        Ok(pair) => pair,
        Err(error) => {
            let why = format!("the server could not make a pair of sockets for this client: {error}");
            return tell(&mut write, &refusal(why)).await;
        }
    };
    let (mut from_server, mut to_server) = near.into_split();
    let copying = async move {
        let requests = async {
            if let Err(error) = copy(&mut read, &mut to_server).await {
                debug!(%error, "a stream failed");
            }
            // The connection sees the end, and ends; so does then what it says.
            drop(to_server);
            pending::<()>().await;
        };
        let replies = async {
            let copied = copy(&mut from_server, &mut write).await;
            if let Err(error) = copied.and(write.shutdown().await.map(|()| 0)) {
                debug!(%error, "a stream failed");
            }
        };
        tokio::select! {
            () = requests => {}
            () = replies => {}
        }
    };
    let mut copying = Box::pin(copying);
    let mut connection = Box::pin(connection::run(Arc::clone(shared), served, None, place));
    tokio::select! {
        () = &mut copying => {
            // With its sockets, which the connection notices.
            drop(copying);
            connection.await;
        }
        () = &mut connection => {
            drop(connection);
            let _ = timeout(LINGER, copying).await;
        }
    }
}

/// Says why a client is not served. Best effort.
async fn tell(write: &mut WriteHalf<impl AsyncWrite>, refusal: &[u8]) {
    let _ = timeout(LINGER, async {
        write.write_all(refusal).await?;
        write.shutdown().await
    })
    .await;
}
