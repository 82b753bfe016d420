//! Other namespaces: `/admin`, for which a client needs a token, and `/tenant-1`, `/tenant-2`, … on demand.

use bucle::Loop;
use bucle::socket_io::{EventError, Server};
use serde_json::{Value, json};

use super::{rooms, socket};

pub fn serve(lp: &mut Loop, io: Server) {
    let admin = io.of(lp, "/admin");
    admin.use_middleware(lp, |lp, socket, next| {
        let auth: Value = socket.auth(lp).unwrap_or_default();
        if auth["token"] == "secret" {
            next.allow(lp);
        } else {
            next.refuse(lp, EventError::new("not authorized").with_data(json!({ "code": 401 })));
        }
    });
    admin.on_connection(lp, |lp, socket| {
        let auth: Value = socket.auth(lp).unwrap_or_default();
        socket.emit(lp, "admin-ready", json!({ "user": auth["user"] }));
    });
    socket::echo(lp, admin);
    rooms::shout_all(lp, admin);

    let tenants = io.of_matching(lp, |name| {
        let number = name.strip_prefix("/tenant-");
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    tenants.on_connection(lp, |lp, socket| {
        let name = socket.namespace(lp).and_then(|namespace| namespace.name(lp)).unwrap_or_default();
        socket.emit(lp, "tenant", &*name);
    });
    socket::echo(lp, tenants);
    rooms::join_and_say(lp, tenants);
    rooms::shout_all(lp, tenants);
}
