//! `node`: sessions of other machines, over NATS.

mod ask;

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

pub(super) use self::ask::{
    NodeRefused, as_json, change, create, figures, knows, nodes, table, watch, with_hint,
};
use super::{
    Exit, Globals,
    log::{self, LogFormat, LogSink},
    print, print_note,
    serve::Supervisor,
    settings::LIST_DELIMITER,
    signals::DeadlySignals,
    start::connect_or_start,
};
use crate::{
    message::WhenLost,
    nodes::{
        AllowList, AllowRule, NatsAddress, NatsConfig, NodeConfig, NodeName, RunningNode, Tenant,
        nsc_options, permissions,
    },
};

/// Makes this machine a node: `list --nodes` shows all sessions then, `attach SESSION@NODE` one
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<NodeCommand>,
    /// What this machine is called: letters, digits, _ and -
    #[arg(long)]
    name: Option<NodeName>,
    /// A nats-server; several of one cluster, with commas
    #[arg(long, value_name = "URL", value_delimiter = LIST_DELIMITER)]
    nats: Vec<NatsAddress>,
    /// A file with the credentials of a user
    #[arg(long, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// A file with the seed of an nkey
    #[arg(long, value_name = "FILE", conflicts_with = "creds")]
    nkey: Option<PathBuf>,
    /// Certificates to trust besides the system's
    #[arg(long, value_name = "PEM")]
    ca: Option<PathBuf>,
    /// A certificate of this node's
    #[arg(long, value_name = "PEM", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key
    #[arg(long, value_name = "PEM", requires = "cert")]
    key: Option<PathBuf>,
    /// Without TLS to another machine: others can read along, and type
    #[arg(long)]
    plain: bool,
    /// Only nodes of the same one see each other
    #[arg(long, default_value = "main")]
    tenant: Tenant,
    /// What is typed while a session's host is silent is refused, or waits for it
    #[arg(long, value_name = "WHAT", default_value = "refuse")]
    typing: TypingArg,
    /// What nodes may do; the first that fits holds: ci-*=read [default: *=write]
    #[arg(long, value_name = "NODE=WHAT", value_delimiter = LIST_DELIMITER)]
    allow: Vec<AllowRule>,
}

/// What becomes of typing while a host is silent.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum TypingArg {
    Refuse,
    Wait,
}

#[derive(Debug, clap::Subcommand)]
enum NodeCommand {
    Permissions(PermissionsArgs),
    Key(KeyArgs),
}

/// Prints what a node's user may do at the broker, for nats-server's configuration
#[derive(Debug, clap::Args)]
struct PermissionsArgs {
    /// The node
    name: NodeName,
    /// It changes nothing on other nodes
    #[arg(long)]
    read_only: bool,
    /// As the node's
    #[arg(long, default_value = "main")]
    tenant: Tenant,
    /// As options of `nsc add user`, which makes credentials
    #[arg(long)]
    nsc: bool,
}

/// Makes an nkey: its seed into a new file; its public half is printed, for nats-server
#[derive(Debug, clap::Args)]
struct KeyArgs {
    /// The file, which must not exist
    file: PathBuf,
}

/// Makes a key. Nobody else may read the file.
fn make_key(file: &Path) -> anyhow::Result<()> {
    let key = nkeys::KeyPair::new_user();
    let seed = key.seed()?;
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let written = written.and_then(|mut file| writeln!(file, "{seed}"));
    written.with_context(|| format!("could not write the seed into {}", file.display()))?;
    print(&format!("{}\n", key.public_key()))?;
    Ok(())
}

pub(super) fn run(common: &Globals, args: Args) -> anyhow::Result<Exit> {
    match &args.command {
        Some(NodeCommand::Permissions(PermissionsArgs { name, read_only, tenant, nsc })) => {
            let form = if *nsc { nsc_options } else { permissions };
            print(&form(tenant, name, !read_only))?;
            return Ok(Exit::SUCCESS);
        }
        Some(NodeCommand::Key(KeyArgs { file })) => {
            make_key(file)?;
            return Ok(Exit::SUCCESS);
        }
        None => {}
    }
    let Some(name) = args.name else {
        bail!("say what this machine is called: --name NAME, or `name` in [nodes] of the configuration");
    };
    if args.nats.is_empty() {
        bail!("say where nats-server is: --nats URL, or `nats` in [nodes] of the configuration");
    }
    // One of them may be of a file, the other not.
    if args.creds.is_some() && args.nkey.is_some() {
        bail!("a node has credentials or an nkey, and not both: leave out --creds or --nkey");
    }
    if args.cert.is_some() != args.key.is_some() {
        bail!("a certificate and its key go together: give --cert and --key, or neither");
    }
    if common.remote.is_some() {
        bail!("a node is of the machine that it runs on: leave out --remote");
    }
    let allow = if args.allow.is_empty() { AllowList::everything() } else { AllowList::new(args.allow) };
    let typing = match args.typing {
        TypingArg::Refuse => WhenLost::Refused,
        TypingArg::Wait => WhenLost::Waits,
    };
    let nats = NatsConfig {
        servers: args.nats,
        creds: args.creds,
        nkey: args.nkey,
        ca: args.ca,
        identity: args.cert.zip(args.key),
        is_plain: args.plain,
    };
    let config = NodeConfig { name, tenant: args.tenant, nats, allow, typing, socket: common.socket.clone() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(common, config))
}

async fn serve(common: &Globals, config: NodeConfig) -> anyhow::Result<Exit> {
    let mut signals = DeadlySignals::new()?;
    log::start(common.log, LogFormat::Text, LogSink::Stderr);
    let supervisor = Supervisor::from_environment();
    if config.nats.is_exposed() {
        print_note(format_args!("without TLS, others can read along and type"));
    }
    let name = config.name.clone();
    // So that there is a server to provide sessions to.
    drop(connect_or_start(common).await?);
    let node = RunningNode::start(config).await?;
    print_note(format_args!("node {name} is connected, and asked at {}", node.control_path().display()));
    // For what waits for this.
    print(&format!("{name}\n"))?;
    supervisor.ready().await;
    let stop = async {
        let _ = signals.next().await;
    };
    node.serve(stop).await?;
    Ok(Exit::SUCCESS)
}
