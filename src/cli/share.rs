//! `share`: makes a link to a session.

use std::str::FromStr;

use super::{
    Exit, Globals, block_on, print, print_note,
    target::{SessionArg, this_session},
    time::{TimeSpan, age},
};
use crate::message::{Access, LinkInfo, Share};

/// Where `fugue-server web` serves links, unless it is told otherwise.
const WEB_URL: &str = "http://127.0.0.1:7681/";

/// Prints a link to a session: who has it can watch, and do nothing else
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It opens in a browser where `fugue-server web` runs, or with `fugue-server attach --link URL`.
`unshare` takes it back, `shares` lists all. It ends with its session, and with a `stop`.
Whoever can type into a shell can do all that you can: give links with --write to nobody else.")]
pub(super) struct Args {
    /// The session's name, or its beginning [default: the one that this runs in]
    name: Option<SessionArg>,
    /// All sessions, those to come as well; with --write, also to start and end them
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Who has it may also type, and size the terminal
    #[arg(long)]
    write: bool,
    /// Valid for this long, such as 90m, 8h or 2d; or forever: until it is taken back
    #[arg(long = "for", value_name = "TIME", default_value = "forever")]
    lifetime: LinkLifetime,
    /// For one viewer only: the first, who may come again
    #[arg(long)]
    once: bool,
    /// For so many viewers only, each of whom may come again
    #[arg(long, value_name = "N", conflicts_with = "once")]
    uses: Option<u32>,
    /// What it is for, in `shares`
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// What it begins with [default: where `fugue-server web` runs]
    #[arg(long, value_name = "URL")]
    url: Option<WebUrl>,
}

/// How long a link is valid, in seconds; `None` of one without an end.
#[derive(Clone, Copy, Debug)]
struct LinkLifetime(Option<u64>);

impl FromStr for LinkLifetime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self(None));
        }
        let TimeSpan(time) = text.parse::<TimeSpan>().map_err(|error| format!("{error}, or forever"))?;
        Ok(Self(Some(time.as_secs() + u64::from(time.subsec_nanos() > 0))))
    }
}

/// A URL that links begin with: one of a page, without a query or a fragment, with a slash at its end.
#[derive(Clone, Debug)]
struct WebUrl(String);

impl FromStr for WebUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = text.strip_prefix("https://").or(text.strip_prefix("http://")).unwrap_or_default();
        let is_plain = |letter: char| letter.is_ascii_graphic() && !"\"#<>?\\^`{|}".contains(letter);
        if place.is_empty() || place.starts_with('/') || !place.chars().all(is_plain) {
            return Err("give the URL of a page, such as https://example.org/terminal/");
        }
        Ok(Self(format!("{}/", text.trim_end_matches('/'))))
    }
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    block_on(async {
        let mut client = common.connect().await?;
        let share = match (args.all, args.name) {
            (true, _) => Share::of_all(),
            (false, Some(session)) => {
                session.must_be_here(common)?;
                Share::of(session.target)
            }
            (false, None) => Share::of(this_session(&mut client).await?),
        };
        let share = share
            .with_access(if args.write { Access::ReadWrite } else { Access::ReadOnly })
            .with_uses(if args.once { Some(1) } else { args.uses })
            .with_lifetime_seconds(args.lifetime.0)
            .with_label(args.label);
        let shared = client.share(share).await?;
        let url = match args.url {
            Some(WebUrl(url)) => url,
            None => web_url(common).await,
        };
        print(&format!("{url}s/#{}\n", shared.token))?;
        print_note(format_args!("[{}]", described(&shared.link)));
        print_note(format_args!("[{OPENED}]"));
        Ok(Exit::SUCCESS)
    })
}

/// What a link is opened with, as people are told.
const OPENED: &str = if cfg!(feature = "web") {
    "open it in a browser, or with `fugue-server attach --link URL`"
} else {
    "open it with `fugue-server attach --link URL`, or in a browser where `fugue-server web` runs"
};

/// Where links begin if nobody says: at the gateway of this machine's server, which is started if there is none.
#[cfg(feature = "web")]
async fn web_url(common: &Globals) -> String {
    // That of another machine is not known here.
    if common.remote.is_some() {
        return WEB_URL.to_owned();
    }
    super::web::find_or_start(common).await.unwrap_or_else(|error| {
        super::print_error(format_args!("no browser can open it yet: {error:#}"));
        WEB_URL.to_owned()
    })
}

/// Where links begin if nobody says.
#[cfg(not(feature = "web"))]
async fn web_url(_: &Globals) -> String {
    WEB_URL.to_owned()
}

/// What a link lets one do, and for how long.
fn described(link: &LinkInfo) -> String {
    let what = match &link.session {
        Some(session) => format!("session {}", session.name),
        None => "all sessions".to_owned(),
    };
    let whom = match link.uses {
        None => "any number of viewers".to_owned(),
        Some(1) => "one viewer".to_owned(),
        Some(uses) => format!("{uses} viewers"),
    };
    let until = link.expires_seconds.map_or_else(String::new, |seconds| format!(" for {}", age(seconds)));
    format!(
        "{what}, {}, {whom}{until}; `fugue-server unshare {}` takes it back",
        access(link.access),
        link.id
    )
}

/// As people read it.
pub(super) fn access(access: Access) -> &'static str {
    match access {
        Access::ReadWrite => "read-write",
        Access::ReadOnly => "read-only",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_links_begin_with_is_that_of_a_page() {
        for (url, whole) in [
            ("http://127.0.0.1:7681", "http://127.0.0.1:7681/"),
            ("https://[::1]:8080/x//", "https://[::1]:8080/x/"),
            (WEB_URL, WEB_URL),
        ] {
            assert_eq!(url.parse::<WebUrl>().unwrap().0, whole);
        }
        for wrong in [
            "",
            "http://",
            "http:///x",
            "ftp://x",
            "x",
            "http://x/#y",
            "http://x/?y",
            "http://x\n",
            "http://x y",
        ] {
            assert!(wrong.parse::<WebUrl>().is_err(), "{wrong:?}");
        }
    }
}
