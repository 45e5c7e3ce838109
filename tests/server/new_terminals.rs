//! What a new session's terminal is like before its program starts, and how large it says it is in pixels.

use std::{fs::File, os::unix::fs::OpenOptionsExt};

use fugue_server::{
    TerminalSize,
    message::{
        ClientMessage, ControlCharacter, Create, PixelSize, Reply, SizePolicy, TerminalFlag, TerminalSettings,
    },
};
use rustix::termios::{InputModes, LocalModes, SpecialCodeIndex, tcgetattr, tcgetwinsize};

use crate::support::*;

/// Starts a session that says where its terminal is, and opens that.
async fn terminal_of(server: &TestServer, change: impl FnOnce(&mut Create)) -> File {
    let request = shell_with("a", "tty; exec cat", |create| {
        create.attach = Some(FROM_OLDEST);
        change(create);
    });
    let mut client = server.client().await;
    let to = attached(&mut client, &request).await;
    let mut said = Transcript::from(to.start);
    said.read_to(&mut client, "\n").await;
    let path = String::from_utf8(said.bytes).unwrap();
    let noctty = rustix::fs::OFlags::NOCTTY.bits().try_into().unwrap();
    File::options().read(true).custom_flags(noctty).open(path.trim_end()).unwrap()
}

/// Columns, rows, and pixels.
fn size_of(terminal: &File) -> [u16; 4] {
    let size = tcgetwinsize(terminal).unwrap();
    [size.ws_col, size.ws_row, size.ws_xpixel, size.ws_ypixel]
}

fn cells(cols: u16, rows: u16) -> TerminalSize {
    TerminalSize::new(cols, rows).unwrap()
}

#[tokio::test]
async fn a_terminal_has_the_settings_and_the_pixels_that_it_is_created_with() {
    let server = TestServer::start();
    let terminal = terminal_of(&server, |create| {
        create.size = cells(100, 30);
        create.pixels = PixelSize::new(1000, 600);
        create.settings = TerminalSettings::UNKNOWN
            .with_flag(TerminalFlag::Ixon, false)
            .with_flag(TerminalFlag::Tostop, true)
            .with_character(ControlCharacter::Erase, 8)
            .with_character(ControlCharacter::Susp, 0);
    })
    .await;
    assert_eq!(size_of(&terminal), [100, 30, 1000, 600]);
    let settings = tcgetattr(&terminal).unwrap();
    assert!(!settings.input_modes.contains(InputModes::IXON));
    assert!(settings.local_modes.contains(LocalModes::TOSTOP));
    assert_eq!(settings.special_codes[SpecialCodeIndex::VERASE], 8);
    assert_eq!(settings.special_codes[SpecialCodeIndex::VSUSP], 0);
    // What was not said is as ever.
    assert!(settings.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    assert_eq!(settings.special_codes[SpecialCodeIndex::VINTR], 3);
}

#[tokio::test]
async fn a_terminal_that_nobody_says_anything_of_is_of_utf8() {
    let server = TestServer::start();
    let terminal = terminal_of(&server, |_| {}).await;
    let settings = tcgetattr(&terminal).unwrap();
    assert!(settings.input_modes.contains(InputModes::IUTF8 | InputModes::ICRNL | InputModes::IXON));
    assert_eq!(size_of(&terminal), [80, 24, 0, 0]);
    let server = TestServer::start();
    let off = TerminalSettings::UNKNOWN.with_flag(TerminalFlag::Iutf8, false);
    let terminal = terminal_of(&server, |create| create.settings = off).await;
    assert!(!tcgetattr(&terminal).unwrap().input_modes.contains(InputModes::IUTF8));
}

#[tokio::test]
async fn pixels_follow_the_terminal_whose_size_counts() {
    let server = TestServer::start();
    let terminal = terminal_of(&server, |_| {}).await;
    let view = |cols, rows, width, height| {
        TERMINAL.with_size(Some(cells(cols, rows))).with_pixels(PixelSize::new(width, height))
    };
    let mut one = Viewer::attach(&server, &attach("a", view(100, 30, 1000, 600))).await;
    assert_eq!(size_of(&terminal), [100, 30, 1000, 600]);
    let other = Viewer::attach(&server, &attach("a", view(90, 40, 720, 640))).await;
    assert_eq!(size_of(&terminal), [90, 40, 720, 640]);
    // Another font and no other size: only the pixels change.
    let larger = ClientMessage::Resize {
        session: one.session,
        size: cells(100, 30),
        pixels: PixelSize::new(2000, 1200),
    };
    assert_eq!(soon(one.client.request(&larger)).await.unwrap(), Reply::Resized);
    assert_eq!(size_of(&terminal), [100, 30, 2000, 1200]);
    let smaller = ClientMessage::Resize {
        session: one.session,
        size: cells(100, 30),
        pixels: PixelSize::new(500, 300),
    };
    assert_eq!(soon(one.client.request(&smaller)).await.unwrap(), Reply::Resized);
    assert_eq!(size_of(&terminal), [100, 30, 500, 300]);
    drop(one);
    eventually("the other's size", || size_of(&terminal) == [90, 40, 720, 640]).await;
    drop(other);
}

#[tokio::test]
async fn a_size_that_is_nobodys_has_the_cells_of_the_terminal_used_last() {
    let server = TestServer::start();
    let terminal = terminal_of(&server, |create| create.size_policy = SizePolicy::Smallest).await;
    let view = |cols, rows, width, height| {
        TERMINAL.with_size(Some(cells(cols, rows))).with_pixels(PixelSize::new(width, height))
    };
    let _one = Viewer::attach(&server, &attach("a", view(100, 30, 1000, 600))).await;
    let _other = Viewer::attach(&server, &attach("a", view(90, 40, 720, 640))).await;
    assert_eq!(size_of(&terminal), [90, 30, 720, 480]);
}
