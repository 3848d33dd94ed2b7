//! A PostgreSQL of one's own: found on the machine, made in a folder, started on a free loopback port with a password, and
//! gone when nobody needs it. `initdb` and `postgres` refuse to run as root, so a process that is root starts them as the user
//! `postgres`, or `nobody`.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::unistd::{Gid, Uid, User};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

/// The administrator of a cluster of ours.
const ADMIN: &str = "tallystick_admin";
/// Older servers lack what the schemas use.
const MAJOR_MIN: u32 = 15;
/// A server that does not answer by then will not.
const START_MAX: Duration = Duration::from_secs(60);
/// One process makes roles at a time.
const ROLES_LOCK: i64 = 0x7a11_7572;
const ROLES_SQL: &str = include_str!("../../deploy/sql/roles.sql");

/// Where the server programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Looks at `PG_BIN`, what `pg_config` says, and the usual places; as root on a machine with apt, installs the package.
    pub fn find_or_install(say: &mut dyn FnMut(&str)) -> anyhow::Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        let can_install = Uid::effective().is_root() && Path::new("/usr/bin/apt-get").exists();
        let install = "apt-get update && apt-get install -y postgresql";
        if !can_install {
            bail!(
                "no PostgreSQL server programs ({MAJOR_MIN} or newer) were found: set PG_BIN to their folder, or run `{install}` as root"
            );
        }
        say(
            "no PostgreSQL server programs on this machine: installing the package \"postgresql\" with apt-get",
        );
        let done = Command::new("sh")
            .args(["-c", install])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        ensure!(done.success(), "`{install}` failed");
        Self::find().context("the package \"postgresql\" brought no server programs")
    }

    fn find() -> Option<Self> {
        let named = std::env::var_os("PG_BIN").map(PathBuf::from);
        let config = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output().ok();
        let config = config
            .and_then(|output| String::from_utf8(output.stdout).ok())
            .map(|text| PathBuf::from(text.trim()));
        let mut usual = Vec::new();
        for root in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr/pgsql"] {
            let entries = fs::read_dir(root).into_iter().flatten().flatten();
            usual.extend(entries.map(|entry| entry.path().join("bin")));
        }
        usual.push(PathBuf::from("/usr/local/pgsql/bin"));
        usual.sort_by_key(|folder| std::cmp::Reverse(major(folder)));
        let mut candidates = named.into_iter().chain(config).chain(usual);
        candidates
            .find(|folder| major(folder) >= Some(MAJOR_MIN) && folder.join("initdb").exists())
            .map(|folder| Self { folder })
    }
}

/// The major version of the server in a folder.
fn major(folder: &Path) -> Option<u32> {
    let output =
        Command::new(folder.join("postgres")).arg("--version").stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whether a cluster keeps data or only lends itself to tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every commit is on disk. The server ends with the process that started it.
    Kept,
    /// Nothing is flushed: fast, and lost in a crash. The server ends a minute after its last connection.
    ForTests,
    /// As `Kept`, with the memory of a database server: what a measurement needs.
    KeptLarge,
}

/// A server that answers.
#[derive(Debug, Clone)]
pub struct Server {
    host: String,
    port: u16,
    user: String,
    password: String,
}

impl Durability {
    fn is_kept(self) -> bool {
        self != Self::ForTests
    }

    /// How much memory the server takes, and how much log it lets grow between checkpoints.
    fn memory(self) -> [&'static str; 5] {
        match self {
            Self::Kept | Self::ForTests => [
                "shared_buffers=256MB",
                "max_wal_size=4GB",
                "min_wal_size=80MB",
                "wal_buffers=8MB",
                "wal_compression=on",
            ],
            // Log files are kept and written over, as on a server that has run for a while.
            Self::KeptLarge => [
                "shared_buffers=4GB",
                "max_wal_size=32GB",
                "min_wal_size=12GB",
                "wal_buffers=64MB",
                "wal_compression=lz4",
            ],
        }
    }
}

/// A server, and what keeps it running.
#[derive(Debug)]
pub struct Cluster {
    /// How to reach it.
    pub server: Server,
    keeper: Option<Child>,
    _lock: Option<File>,
}

impl Cluster {
    /// The cluster in this folder, made and started if need be; `folder` is moved elsewhere when the server's user cannot reach
    /// it. Another process that has it started already shares it.
    pub async fn open(
        folder: &Path,
        durability: Durability,
        say: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Self> {
        let runner = Runner::choose()?;
        let folder = runner.reachable(folder)?;
        let lock = private_file(&folder.join("lock"))?;
        let starting = private_file(&folder.join("starting"))?;
        starting.lock()?;
        let owned = lock.try_lock().is_ok();
        if let Some(server) = Server::read(&folder)
            && server.answers().await
            && (durability == Durability::ForTests || !owned)
        {
            return Ok(Self { server, keeper: None, _lock: None });
        }
        // Of tests the first process only holds the file; a kept cluster has one owner, whose server this one must not replace.
        ensure!(
            durability == Durability::ForTests || owned,
            "{} is in use by another process, and its server does not answer",
            folder.display()
        );
        let programs = Programs::find_or_install(say)?;
        wait_for_the_last_one(&folder).await?;
        let data = folder.join("data");
        if durability == Durability::ForTests && data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let made = data.join("PG_VERSION").exists();
        let password = match Server::read(&folder) {
            Some(server) if made => server.password,
            None if made => {
                bail!("{} has data and no password for it: `reset` removes both", folder.display())
            }
            _ => {
                say("making a PostgreSQL cluster");
                let password = crate::auth::Signer::generate_secret()?;
                runner.make(&programs, &folder, &data, &password)?;
                password
            }
        };
        let server =
            Server { host: "127.0.0.1".to_owned(), port: free_port()?, user: ADMIN.to_owned(), password };
        server.write(&folder)?;
        let keeper = runner.keep(&programs, &folder, &server, durability)?;
        server.wait().await.with_context(|| format!("see {}", folder.join("server.log").display()))?;
        let keeper = durability.is_kept().then_some(keeper);
        Ok(Self { server, keeper, _lock: Some(lock) })
    }

    /// Removes a kept cluster, wherever it had to be put. Refused while a process has it open.
    pub fn remove(folder: &Path) -> anyhow::Result<usize> {
        let runner = Runner::choose()?;
        if !folder.exists() {
            return Ok(0);
        }
        let place = runner.reachable(folder)?;
        let lock = private_file(&place.join("lock"))?;
        ensure!(lock.try_lock().is_ok(), "{} is in use: stop what runs on it first", place.display());
        fs::remove_dir_all(&place).with_context(|| format!("removing {}", place.display()))?;
        Ok(1)
    }

    /// Stops a kept server that this process started, and waits for it.
    pub fn stop(mut self) -> anyhow::Result<()> {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait()?;
        }
        Ok(())
    }
}

impl Server {
    /// The server of a connection string, with a role that may create databases and roles.
    pub fn from_url(url: &str) -> anyhow::Result<Self> {
        let options: PgConnectOptions = url.parse().context("DATABASE_URL")?;
        let rest = url.split_once("://").map(|(_, rest)| rest).context("DATABASE_URL has no scheme")?;
        let secret =
            rest.split_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
        Ok(Self {
            host: options.get_host().to_owned(),
            port: options.get_port(),
            user: options.get_username().to_owned(),
            password: secret.unwrap_or_default().to_owned(),
        })
    }

    /// How a role reaches a database of this server.
    pub fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@{}:{}/{database}", self.host, self.port)
    }

    /// How the administrator does.
    pub fn admin_url(&self, database: &str) -> String {
        self.url(&self.user, &self.password, database)
    }

    /// A connection of the administrator.
    pub async fn connect(&self, database: &str) -> sqlx::Result<PgConnection> {
        let options: PgConnectOptions = self.admin_url(database).parse()?;
        let connection = options.disable_statement_logging().connect().await?;
        crate::db::send_at_once(self.port)?;
        Ok(connection)
    }

    /// Makes roles and schemas in a database. The roles' password follows from the administrator's, so that it need not be kept.
    pub async fn provision(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        // Roles belong to the whole server, and two that alter one at once fail; advisory locks belong to one database.
        let mut turn = self.connect("postgres").await?;
        sqlx::query("select pg_advisory_lock($1)").bind(ROLES_LOCK).execute(&mut turn).await?;
        sqlx::raw_sql(ROLES_SQL).execute(&mut *connection).await.context("deploy/sql/roles.sql")?;
        let password = self.role_password();
        for schema in ["account", "workspace", "billing", "settlement"] {
            for kind in ["owner", "app"] {
                let sql = format!("alter role tallystick_{schema}_{kind} password '{password}'");
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *connection).await?;
            }
        }
        turn.close().await?;
        Ok(())
    }

    /// How a service's role reaches a database: "owner" migrates, "app" serves.
    pub fn role_url(&self, schema: &str, kind: &str, database: &str) -> String {
        self.url(&format!("tallystick_{schema}_{kind}"), &self.role_password(), database)
    }

    fn role_password(&self) -> String {
        use sha2::{Digest as _, Sha256};
        crate::wire::hex(&Sha256::digest(format!("tallystick roles {}", self.password).as_bytes()))
    }

    async fn answers(&self) -> bool {
        match self.connect("postgres").await {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_) => false,
        }
    }

    async fn wait(&self) -> anyhow::Result<()> {
        let answered = async {
            while !self.answers().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(START_MAX, answered).await.context("PostgreSQL did not start")
    }

    fn read(folder: &Path) -> Option<Self> {
        let text = fs::read_to_string(folder.join("server")).ok()?;
        let mut lines = text.lines();
        let port = lines.next()?.parse().ok()?;
        let password = lines.next()?.to_owned();
        Some(Self { host: "127.0.0.1".to_owned(), port, user: ADMIN.to_owned(), password })
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        // Whole or not at all: without its password the data is lost.
        let unfinished = folder.join("server.unfinished");
        let mut file = private_file(&unfinished)?;
        file.set_len(0)?;
        write!(file, "{}\n{}\n", self.port, self.password)?;
        file.sync_all()?;
        fs::rename(&unfinished, folder.join("server"))?;
        Ok(())
    }
}

/// As whom the server's programs run.
struct Runner {
    user: Option<(Uid, Gid)>,
}

impl Runner {
    fn choose() -> anyhow::Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self { user: None });
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Self { user: Some((user.uid, user.gid)) });
            }
        }
        bail!(
            "running as root, and there is neither a user \"postgres\" nor \"nobody\" to start PostgreSQL as"
        )
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.user {
            command.uid(uid.as_raw()).gid(gid.as_raw());
        }
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    fn own(&self, path: &Path) -> anyhow::Result<()> {
        if let Some((uid, gid)) = self.user {
            std::os::unix::fs::chown(path, Some(uid.as_raw()), Some(gid.as_raw()))
                .with_context(|| format!("giving {} to the server's user", path.display()))?;
        }
        Ok(())
    }

    /// The folder, or one under the system's temporary place when the server's user cannot get into it.
    fn reachable(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        self.own(&folder)?;
        let inside = self
            .command(Path::new("/bin/sh"))
            .args(["-c", "cd \"$0\"", &folder.to_string_lossy()])
            .stderr(Stdio::null())
            .status()?;
        if inside.success() {
            return Ok(folder);
        }
        use sha2::{Digest as _, Sha256};
        let digest = crate::wire::hex(&Sha256::digest(folder.to_string_lossy().as_bytes()));
        let short = digest.get(..12).unwrap_or("cluster");
        let elsewhere = Path::new("/var/tmp").join(format!("tallystick-{short}"));
        fs::create_dir_all(&elsewhere)?;
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o755))?;
        self.own(&elsewhere)?;
        Ok(elsewhere)
    }

    fn make(&self, programs: &Programs, folder: &Path, data: &Path, password: &str) -> anyhow::Result<()> {
        if data.exists() {
            fs::remove_dir_all(data)?;
        }
        fs::create_dir(data)?;
        fs::set_permissions(data, fs::Permissions::from_mode(0o700))?;
        self.own(data)?;
        let secret = folder.join("initial-password");
        let mut file = private_file(&secret)?;
        file.set_len(0)?;
        file.write_all(password.as_bytes())?;
        self.own(&secret)?;
        let output = self
            .command(&programs.folder.join("initdb"))
            .arg("--pgdata")
            .arg(data)
            .arg("--pwfile")
            .arg(&secret)
            .args(["--username", ADMIN, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"])
            .args(["--data-checksums", "--no-instructions"])
            .output()?;
        fs::remove_file(&secret)?;
        ensure!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Starts the server under a shell that ends it: when this process's end of the pipe closes, however it dies; for tests,
    /// when nobody has been connected for a minute.
    fn keep(
        &self,
        programs: &Programs,
        folder: &Path,
        server: &Server,
        durability: Durability,
    ) -> anyhow::Result<Child> {
        let log = private_file(&folder.join("server.log"))?;
        let script = match durability {
            Durability::Kept | Durability::KeptLarge => KEEP_WITH_PARENT,
            Durability::ForTests => KEEP_WHILE_USED,
        };
        let mut command = self.command(Path::new("/bin/sh"));
        command
            .args(["-c", script, "tallystick-keeper"])
            .arg(&programs.folder)
            .arg(folder.join("data"))
            .arg(server.port.to_string())
            .args(durability.memory())
            .env("PGPASSWORD", &server.password)
            .env("PGUSER", ADMIN)
            .stdin(if durability.is_kept() { Stdio::piped() } else { Stdio::null() })
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        command.spawn().context("starting PostgreSQL")
    }
}

const KEEP_WITH_PARENT: &str = r#"
"$1/postgres" -D "$2" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c max_connections=200 -c autovacuum_naptime=5s -c "$4" -c "$5" -c "$6" -c "$7" -c "$8" &
server=$!
read -r _
kill -INT "$server"
wait "$server"
"#;

const KEEP_WHILE_USED: &str = r#"
"$1/postgres" -D "$2" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c max_connections=400 -c "$4" -c "$5" -c "$6" -c "$7" -c "$8" \
    -c fsync=off -c synchronous_commit=off -c full_page_writes=off &
server=$!
idle=0
while kill -0 "$server" 2>/dev/null; do
    sleep 5
    count=$("$1/psql" -h 127.0.0.1 -p "$3" -d postgres -Atqc "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()" 2>/dev/null)
    if [ "$count" = 0 ]; then idle=$((idle + 1)); else idle=0; fi
    if [ "$idle" -ge 12 ]; then kill -INT "$server"; wait "$server"; rm -rf "$2"; exit; fi
done
"#;

/// A server that is being stopped by its keeper has a moment to finish; a pid file without a process is stale.
async fn wait_for_the_last_one(folder: &Path) -> anyhow::Result<()> {
    let pid_file = folder.join("data").join("postmaster.pid");
    for _ in 0..200 {
        let mut text = String::new();
        let Ok(mut file) = File::open(&pid_file) else { return Ok(()) };
        file.read_to_string(&mut text)?;
        let pid = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok());
        let alive = pid.is_some_and(|pid| {
            !matches!(
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None),
                Err(nix::errno::Errno::ESRCH)
            )
        });
        if !alive {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("another PostgreSQL still runs in {}", folder.display())
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Opens or makes a file that only this user can read.
pub fn private_file(path: &Path) -> anyhow::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).with_context(|| format!("opening {}", path.display()))
}
