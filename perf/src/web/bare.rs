//! The floor: a bare loop that reads a PTY and writes to every websocket in turn, and a thread for each websocket that
//! types. One socket that takes nothing stops it, by its construction.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
};

use tokio_tungstenite::tungstenite::{Message, accept};

use super::{Place, Shown, ShownProgram, page::Protocol};

/// What the PTY is asked for at a time.
const BUFFER: usize = 32 * 1024;

/// Those that watch.
type Sockets = Arc<Mutex<Vec<TcpStream>>>;

pub(super) fn start(programs: &[Vec<String>]) -> anyhow::Result<Shown> {
    let mut shown = Shown { programs: Vec::new(), gateway: None, server: None, _parts: Vec::new() };
    for program in programs {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let place = Place { address: listener.local_addr()?, path: "/".to_owned(), protocol: Protocol::Bare };
        let (pty, slave) = pty_process::blocking::open()?;
        let child = pty_process::blocking::Command::new(&program[0]).args(&program[1..]).spawn(slave)?;
        let (pty, sockets) = (Arc::new(pty), Sockets::default());
        let (output, watching) = (Arc::clone(&pty), Arc::clone(&sockets));
        std::thread::spawn(move || copy(&output, &watching));
        std::thread::spawn(move || serve(&listener, &pty, &sockets));
        shown.programs.push(ShownProgram { watch: place.clone(), typing: place });
        // The threads see its end, or end with the harness.
        shown._parts.push(Box::new(Program(child)));
    }
    Ok(shown)
}

struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(listener: &TcpListener, pty: &Arc<pty_process::blocking::Pty>, sockets: &Sockets) {
    for stream in listener.incoming() {
        let pty = Arc::clone(pty);
        let Ok((mut websocket, stream)) = stream.and_then(|stream| {
            stream.set_nodelay(true)?;
            let websocket = accept(stream.try_clone()?).map_err(|_| std::io::ErrorKind::InvalidData)?;
            Ok((websocket, stream))
        }) else {
            continue;
        };
        sockets.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        std::thread::spawn(move || {
            while let Ok(message) = websocket.read() {
                if let Message::Binary(keys) = message
                    && (&*pty).write_all(&keys).is_err()
                {
                    return;
                }
            }
        });
    }
}

fn copy(mut pty: &pty_process::blocking::Pty, sockets: &Sockets) {
    let mut frame = vec![0; 4 + BUFFER];
    // It ends with an error once the program is gone.
    while let Ok(read) = pty.read(&mut frame[4..]) {
        // A final binary message, and its length: in the header's two bytes, or in two more.
        let begin = if read < 126 { 2 } else { 0 };
        frame[begin] = 0x82;
        match u8::try_from(read) {
            Ok(short) if short < 126 => frame[3] = short,
            _ => {
                frame[1] = 126;
                frame[2..4].copy_from_slice(&u16::try_from(read).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        let mut sockets = sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.retain_mut(|socket| socket.write_all(&frame[begin..4 + read]).is_ok());
    }
}
