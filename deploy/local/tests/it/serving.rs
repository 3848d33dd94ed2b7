//! The program, serving.

use chassis::cluster::Server;
use tokio::process::Command;

/// The program with the demonstration played, serving; killed when it is dropped.
pub struct Serving {
    pub child: tokio::process::Child,
    pub home: std::path::PathBuf,
    pub port_base: u16,
}

impl Serving {
    /// *Because:* ports are below the range that the system gives to outgoing connections, any of which might have them.
    pub async fn start(server: &Server, database: &str, port_base: u16, kill_at: Option<&str>) -> Self {
        let home = std::env::temp_dir().join(format!("{database}-home"));
        let says = std::env::temp_dir().join(format!("{database}-says.txt"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_local"));
        command
            .args(["--port-base", &port_base.to_string(), "--database", database, "--home"])
            .arg(&home)
            .env("DATABASE_URL", server.admin_url("postgres"))
            .env_remove("TALLYSTICK_KILL_AT")
            .stdout(std::fs::File::create(&says).unwrap())
            .kill_on_drop(true);
        if let Some(point) = kill_at {
            command.env("TALLYSTICK_KILL_AT", point);
        }
        let token = home.join("operator.token");
        if token.exists() {
            std::fs::remove_file(&token).unwrap();
        }
        let mut child = command.spawn().unwrap();
        let wait = async {
            while !token.exists() {
                if let Some(status) = child.try_wait().unwrap() {
                    panic!("{status}: {}", std::fs::read_to_string(&says).unwrap());
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(120), wait).await.expect("it serves");
        std::fs::remove_file(&says).unwrap();
        Self { child, home, port_base }
    }

    pub fn channel(&self, offset: u16) -> tonic::transport::Channel {
        let uri = format!("http://127.0.0.1:{}", self.port_base + offset);
        tonic::transport::Endpoint::from_shared(uri).unwrap().connect_lazy()
    }

    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let token = std::fs::read_to_string(self.home.join("operator.token")).unwrap();
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", token.trim()).parse().unwrap());
        request
    }
}
