//! How a session is watched on, over another connection: from the byte where the one before left off, or else with the
//! screen.

use super::{Client, ClientError, ConnectError};
use crate::message::{Attach, AttachOptions, AttachedTo, ClientMessage, RequestError, StartAt};

/// How far what came from the server goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Output, up to this offset.
    Output(u64),
    /// A piece of a drawn screen, after which output goes on at this offset. There may be more pieces of it.
    Screen(u64),
}

impl Reached {
    /// Where output goes on.
    pub(crate) fn offset(self) -> u64 {
        let (Self::Output(offset) | Self::Screen(offset)) = self;
        offset
    }
}

/// What is to be seen if the next byte is no longer held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missed {
    /// The screen, in place of what is missing.
    Screen,
    /// Nothing: without those bytes it is not watched on.
    Nothing,
}

/// Why a session is not watched on.
#[derive(Debug)]
pub(crate) enum NotResumed {
    /// That may go better on the next connection.
    Passing,
    /// The next so many bytes are no longer held, and nothing stands for them.
    Gap(u64),
    Refused(RequestError),
}

/// Attaches a new connection where the one before was. With `redraws`, the screen is drawn in any case.
pub(crate) async fn resume(
    client: &mut Client,
    attach: Attach,
    reached: Reached,
    missed: Missed,
    redraws: bool,
) -> Result<AttachedTo, NotResumed> {
    let from = |start| {
        let options = AttachOptions { start, ..attach.options };
        Attach { options, ..attach.clone() }
    };
    let resumed = match client.attach_with(from(StartAt::Offset(reached.offset()))).await {
        Err(ClientError::Refused(RequestError::OffsetNotHeld { oldest, .. })) => {
            if missed == Missed::Nothing {
                return Err(NotResumed::Gap(oldest.saturating_sub(reached.offset())));
            }
            client.attach_with(from(StartAt::Screen)).await
        }
        // Of a screen, there may be pieces that did not come.
        Ok(attached) if redraws || matches!(reached, Reached::Screen(_)) => {
            client.send(&ClientMessage::Resync).await.map(|_| attached)
        }
        resumed => resumed,
    };
    resumed.map_err(NotResumed::of)
}

impl NotResumed {
    pub(super) fn of(error: ClientError) -> Self {
        match error {
            ClientError::Refused(refused) => Self::Refused(refused),
            _ => Self::Passing,
        }
    }
}

impl ConnectError {
    /// Whether a client that lost a connection may get another one later, for all that this says.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer { .. } | Self::Io { .. } | Self::Stream(_) | Self::Wire(_) | Self::Refused(_)
        )
    }
}
