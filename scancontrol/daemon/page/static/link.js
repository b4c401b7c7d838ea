// The websocket: connects, tries again, hands messages up, and says whether anybody is listening.

import { decodeFrame } from './frames.js';

const PROTOCOL = 'scancontrol.daemon.page.1';
const RETRY_MS = [250, 500, 1000, 2000, 4000];

/** The session's token: from the link's fragment the first time, then kept for this tab alone. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (given) {
    sessionStorage.setItem('token', given);
    history.replaceState(null, '', location.pathname);
  }
  return given || sessionStorage.getItem('token') || '';
}

/** The second way to blank: a connection of its own, without pictures, that stands before it is needed. */
export class BlankLine {
  constructor(token) {
    this.token = token;
    this.failures = 0;
    if (token) this.connect();
  }

  get open() { return this.socket?.readyState === WebSocket.OPEN; }

  connect() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.socket = new WebSocket(`${scheme}://${location.host}/blank`, [PROTOCOL, `token.${this.token}`]);
    this.socket.onopen = () => { this.failures = 0; };
    this.socket.onclose = () => {
      const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
      this.failures += 1;
      setTimeout(() => this.connect(), wait);
    };
  }

  blank() { if (this.open) this.socket.send('blank'); }
}

export class Link {
  /** handlers: {open(), close(everOpened), message(object), frame(object)} */
  constructor(token, handlers) {
    this.token = token;
    this.handlers = handlers;
    this.failures = 0;
    this.asked = new Map(); // who waits for the answer to which request
    this.requests = 0;
    this.connect();
  }

  get open() { return this.socket.readyState === WebSocket.OPEN; }

  connect() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    const offered = this.token ? [PROTOCOL, `token.${this.token}`] : [PROTOCOL];
    this.socket = new WebSocket(`${scheme}://${location.host}/live`, offered);
    this.socket.binaryType = 'arraybuffer';
    let opened = false;
    this.socket.onopen = () => { opened = true; this.failures = 0; this.handlers.open(); };
    this.socket.onmessage = (event) => {
      if (typeof event.data === 'string') this.heard(JSON.parse(event.data));
      else this.handlers.frame(decodeFrame(event.data));
    };
    this.socket.onclose = () => {
      for (const answer of this.asked.values()) answer({ type: 'refusal', text: 'the connection to the daemon was lost before it answered' });
      this.asked.clear();
      this.handlers.close(opened);
      const wait = RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
      this.failures += 1;
      setTimeout(() => this.connect(), wait);
    };
  }

  send(message) {
    if (!this.open) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  heard(message) {
    const answer = this.asked.get(message.request);
    if (answer) { this.asked.delete(message.request); answer(message); } else this.handlers.message(message);
  }

  /** Send a message that is answered; resolves to the answer, which may be a refusal. */
  ask(message) {
    return new Promise((resolve) => {
      const request = ++this.requests;
      if (this.send({ ...message, request })) this.asked.set(request, resolve);
      else resolve({ type: 'refusal', text: 'not connected to the daemon' });
    });
  }
}
