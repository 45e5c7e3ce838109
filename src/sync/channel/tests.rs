//! The contract that the registry relies on, kept by tokio's channel and by the one that stands in for it in models.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::sync::mpsc::error::{TryRecvError, TrySendError};

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

macro_rules! contract {
    ($name:ident, $($channel:tt)+) => {
        mod $name {
            use super::*;
            use $($channel)+;

            #[test]
            fn messages_arrive_in_order_until_it_is_full() {
                let (sender, mut receiver) = channel(2);
                assert_eq!(sender.capacity(), 2);
                assert_eq!(sender.try_send(1), Ok(()));
                assert_eq!(sender.try_send(2), Ok(()));
                assert_eq!(sender.capacity(), 0);
                assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
                assert_eq!(receiver.try_recv(), Ok(1));
                assert_eq!(sender.capacity(), 1);
                assert_eq!(sender.try_send(4), Ok(()));
                assert_eq!(receiver.try_recv(), Ok(2));
                assert_eq!(receiver.try_recv(), Ok(4));
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            }

            #[test]
            fn a_receiver_that_is_gone_closes_it_even_when_it_is_full() {
                let (sender, receiver) = channel(1);
                let other = sender.clone();
                assert_eq!(sender.try_send(1), Ok(()));
                assert!(!sender.is_closed());
                drop(receiver);
                assert!(sender.is_closed() && other.is_closed());
                assert_eq!(sender.try_send(2), Err(TrySendError::Closed(2)));
                assert!(matches!(other.try_reserve_many(1), Err(TrySendError::Closed(()))));
            }

            #[test]
            fn a_receiver_that_is_gone_frees_what_was_queued() {
                let (sender, receiver) = channel(2);
                let message = Arc::new(());
                assert!(sender.try_send(Arc::clone(&message)).is_ok());
                drop(receiver);
                assert_eq!(Arc::strong_count(&message), 1);
            }

            #[test]
            fn what_was_sent_is_received_after_the_last_sender_is_gone() {
                let (sender, mut receiver) = channel(2);
                let other = sender.clone();
                assert_eq!(sender.try_send(1), Ok(()));
                drop(sender);
                assert_eq!(receiver.try_recv(), Ok(1));
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
                drop(other);
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
            }

            #[test]
            fn clones_are_of_the_same_channel_and_others_are_not() {
                let (sender, _receiver) = channel::<u8>(1);
                let (other, _other_receiver) = channel::<u8>(1);
                assert!(sender.same_channel(&sender.clone()));
                assert!(!sender.same_channel(&other));
            }

            #[test]
            fn reserved_places_are_nobody_elses_and_those_not_used_are_free_again() {
                let (sender, mut receiver) = channel(3);
                assert!(matches!(sender.try_reserve_many(4), Err(TrySendError::Full(()))));
                let mut permits = sender.try_reserve_many(3).ok().expect("there is room");
                assert_eq!(sender.capacity(), 0);
                assert_eq!(sender.try_send(9), Err(TrySendError::Full(9)));
                permits.next().expect("the first of three").send(1);
                drop(permits.next());
                drop(permits);
                assert_eq!(sender.capacity(), 2);
                assert_eq!(receiver.try_recv(), Ok(1));
                assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
                assert_eq!(sender.capacity(), 3);
            }

            #[test]
            fn a_receiver_wakes_for_a_message_a_permit_and_the_last_sender() {
                let (sender, mut receiver) = channel(2);
                let woken = Arc::new(Woken::default());
                let waker = Waker::from(Arc::clone(&woken));
                let mut context = Context::from_waker(&waker);
                let mut poll = || pin!(receiver.recv()).poll(&mut context);

                assert_eq!(poll(), Poll::Pending);
                assert_eq!(sender.try_send(1), Ok(()));
                assert_eq!(woken.0.load(Ordering::SeqCst), 1);
                assert_eq!(poll(), Poll::Ready(Some(1)));

                assert_eq!(poll(), Poll::Pending);
                let permits = sender.try_reserve_many(1).ok().expect("there is room");
                permits.for_each(|permit| permit.send(2));
                assert_eq!(woken.0.load(Ordering::SeqCst), 2);
                assert_eq!(poll(), Poll::Ready(Some(2)));

                assert_eq!(poll(), Poll::Pending);
                drop(sender);
                assert_eq!(woken.0.load(Ordering::SeqCst), 3);
                assert_eq!(poll(), Poll::Ready(None));
            }
        }
    };
}

contract!(of_tokio, tokio::sync::mpsc::channel);
contract!(of_the_one_for_models, crate::sync::channel::channel);
