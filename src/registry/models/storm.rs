use super::*;

/// Threads that do anything to two clients and two sessions, while others broadcast and look.
#[test]
fn whatever_threads_do_to_few_clients_and_sessions_leaves_no_trace() {
    const STEPS: usize = 6;

    model::check(|| {
        let registry = registry(2);
        let sessions = two_sessions(&registry);
        let ids = [1_u64, 2].map(ClientId::from);
        let changing = || {
            let registry = registry.clone();
            model::spawn(move || {
                let mut queues = Vec::new();
                for _ in 0..STEPS {
                    let id = ids[model::below(ids.len())];
                    let session = sessions[model::below(sessions.len())];
                    match model::below(6) {
                        0 | 1 => {
                            let (sender, queue) = queue(1);
                            if registry.register_client(id, sender).is_ok() {
                                queues.push(queue);
                            }
                        }
                        2 => drop(registry.unregister_client(id)),
                        3 => drop(registry.detach_from_session(id)),
                        4 => drop(queues.pop()),
                        _ => drop(registry.attach_to_session(id, session)),
                    }
                }
            })
        };
        let broadcasting = || {
            let registry = registry.clone();
            model::spawn(move || {
                let mut publisher = registry.publisher(sessions[0]);
                for message in 0..STEPS as u32 {
                    let delivery = match model::below(3) {
                        0 => publisher.broadcast(message),
                        1 => publisher.broadcast_burst(&[message, message]),
                        _ => registry.broadcast_to_session(sessions[1], message),
                    };
                    assert!(delivery.total() <= 4);
                }
            })
        };
        let threads = [changing(), changing(), broadcasting()];
        let keys = [0, 1].map(|at: usize| registry.inner.sessions.key(sessions[at]));
        for _ in 0..STEPS {
            let [in_first, in_second] = registry.inner.sessions.with_two(&keys[0], &keys[1], |mut maps| {
                let first = maps.first().get(&keys[0]).map_or_else(Vec::new, |s| s.members().to_vec());
                let second = maps.second().get(&keys[1]).map_or_else(Vec::new, |s| s.members().to_vec());
                [first, second]
            });
            assert!(ids.iter().all(|id| !(in_first.contains(id) && in_second.contains(id))));
        }
        for thread in threads {
            thread.join().unwrap();
        }
        for id in ids {
            registry.unregister_client(id);
        }
        assert_empty(&registry);
    });
}
