// Starts stratum-pool-sha256 from the folder it was installed to. argv: that folder, and its settings as JSON.
// Says on stdout, a JSON object a line, that it has started, what it logs, and what it thinks of each share.
"use strict";

const net = require("net");
const path = require("path");

const [folder, text] = process.argv.slice(2);
const settings = JSON.parse(text);
const library = path.join(folder, "node_modules", "stratum-pool-sha256", "lib");

const say = (fact) => process.stdout.write(JSON.stringify(fact) + "\n");
console.log = () => {}; // several lines a share, of use to its author

// It would listen on every address.
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...rest) {
  return listen.call(this, port, "127.0.0.1", ...rest);
};

// The node lacks getdifficulty. And the pool dies of a share that is a block: `bits` is what the header asks for and
// what clients see, while the pool's own block check gets a target that no hash meets.
const daemon = require(path.join(library, "daemon.js"));
const Interface = daemon.interface;
daemon.interface = function (...args) {
  const node = new Interface(...args);
  const { batchCmd, cmd } = node;
  node.batchCmd = (calls, callback) => {
    const known = calls.map(([method, params]) => [method === "getdifficulty" ? "getmininginfo" : method, params]);
    batchCmd(known, callback);
  };
  node.cmd = (method, params, callback, ...rest) => {
    const harmless = (answer) => {
      for (const { response } of [].concat(answer)) {
        if (method === "getblocktemplate" && response && response.bits) {
          response.target = "1".padStart(64, "0");
          response.bits = settings.bits;
        }
      }
      callback(answer);
    };
    cmd(method, params, harmless, ...rest);
  };
  return node;
};

const authorize = (ip, port, user, password, done) =>
  done({ error: null, authorized: password !== settings.wrongPassword, disconnect: false });

const pool = require(path.join(library, "index.js")).createPool(
  {
    coin: { name: "Regtest", symbol: "rBTC", algorithm: "sha256", reward: "POW" },
    address: settings.address,
    rewardRecipients: {},
    blockRefreshInterval: 100,
    jobRebroadcastTimeout: settings.everySeconds,
    connectionTimeout: 600,
    ports: { [settings.port]: { diff: settings.difficulty } },
    daemons: [settings.node],
  },
  authorize,
);
pool.on("log", (severity, message) => {
  if (!message.startsWith("DEBUG")) say({ log: severity, message });
});
pool.on("share", (valid, block, share) => {
  say({ share: valid, user: share.worker, difficulty: share.difficulty, error: share.error || null });
});
pool.on("started", () => say({ started: true }));
pool.start();
