//! `shares`: which links there are.

use serde_json::{Value, json};

use super::{Exit, Globals, block_on, print, print_error, print_json, share::access, time::age};
use crate::message::LinkInfo;

/// Lists the links that `share` made and that are valid
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The links themselves are not to be had again: their secrets are not kept.
VIEWERS is how many connections there are now. docs/json.md has the fields of --json.")]
pub(super) struct Args {
    /// Print a JSON array instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Globals, args: &Args) -> anyhow::Result<Exit> {
    block_on(async {
        let links = match common.connect().await {
            Ok(mut client) => client.shares().await?,
            // No server has no links: an answer, not a failure.
            Err(where_not) if where_not.is_no_server() => {
                print_error(format_args!("{where_not}"));
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        if args.json {
            print_json(&links.iter().map(as_json).collect::<Value>())?;
        } else if !links.is_empty() {
            print(&table(&links))?;
        }
        Ok(Exit::SUCCESS)
    })
}

fn as_json(link: &LinkInfo) -> Value {
    json!({
        "id": link.id.to_string(),
        "session": link.session.as_ref().map(|session| session.name.as_str()),
        "session_id": link.session.as_ref().map(|session| session.id.to_string()),
        "access": access(link.access),
        "label": link.label,
        "uses": link.uses,
        "used": link.uses.map(|_| link.used),
        "viewers": link.viewers,
        "expires_seconds": link.expires_seconds,
    })
}

fn table(links: &[LinkInfo]) -> String {
    let mut table = super::table(["LINK", "SESSION", "ACCESS", "VIEWERS", "USED", "EXPIRES", "LABEL"]);
    for link in links {
        table.add_row([
            link.id.to_string(),
            link.session.as_ref().map_or_else(|| "(all)".to_owned(), |session| session.name.to_string()),
            access(link.access).to_owned(),
            link.viewers.to_string(),
            link.uses.map_or_else(|| "-".to_owned(), |uses| format!("{} of {uses}", link.used)),
            link.expires_seconds.map_or_else(|| "-".to_owned(), |left| format!("in {}", age(left))),
            link.label.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.trim_fmt() + "\n"
}
