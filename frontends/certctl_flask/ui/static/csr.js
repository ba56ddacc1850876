// Writes a PKCS#10 certification request (RFC 2986) for an ECDSA P-256 key of WebCrypto.
// No page in here: functions over bytes, so that they can be tested alone.
"use strict";

const OID = {
  commonName: [0x55, 0x04, 0x03],
  subjectAltName: [0x55, 0x1d, 0x11],
  // 1.2.840.113549.1.9.14, the attribute that carries wanted extensions (RFC 2985 §5.4.2)
  extensionRequest: [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e],
  ecdsaWithSHA256: [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
};
const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OCTET_STRING = 0x04;
const OBJECT_IDENTIFIER = 0x06;
const UTF8_STRING = 0x0c;
const SEQUENCE = 0x30;
const SET = 0x31;
const CONTEXT_0 = 0xa0;
const BOOLEAN_TRUE = new Uint8Array([0x01, 0x01, 0xff]);
// Choices of GeneralName (RFC 5280 §4.2.1.6), implicitly tagged.
const GENERAL_NAME = { email: 0x81, dns: 0x82, uri: 0x86, ip: 0x87 };
// ub-common-name: a longer name can only stand in subjectAltName.
const MAX_COMMON_NAME = 64;

export const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" };

function join(parts) {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function tlv(tag, ...parts) {
  const body = join(parts);
  const size = [];
  for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256)) size.unshift(rest % 256);
  const head = body.length < 128 ? [tag, body.length] : [tag, 0x80 | size.length, ...size];
  return join([new Uint8Array(head), body]);
}

const oid = (arcs) => tlv(OBJECT_IDENTIFIER, new Uint8Array(arcs));
const ascii = (text) => new TextEncoder().encode(text);

function unsigned(bytes) {
  let from = 0;
  while (from < bytes.length - 1 && bytes[from] === 0) from += 1;
  const digits = bytes.slice(from);
  return tlv(INTEGER, digits[0] & 0x80 ? join([new Uint8Array([0]), digits]) : digits);
}

function ipv4(text) {
  const parts = text.split(".");
  const fits = parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256);
  return fits ? new Uint8Array(parts.map(Number)) : null;
}

function ipv6(text) {
  let host;
  try {
    // The browser's own parser knows every form and gives the canonical one.
    host = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  } catch {
    return null;
  }
  const [left, right] = host.split("::").map((half) => (half ? half.split(":") : []));
  const zeros = right === undefined ? [] : Array(8 - left.length - right.length).fill("0");
  const groups = [...left, ...zeros, ...(right ?? [])].map((group) => parseInt(group, 16));
  return new Uint8Array(groups.flatMap((group) => [group >> 8, group & 255]));
}

function hostname(text) {
  const wildcard = text.startsWith("*.") ? "*." : "";
  const plain = text.slice(wildcard.length).toLowerCase();
  let host = "";
  try {
    host = new URL(`http://${plain}/`).hostname;
  } catch {
    // Falls through to the refusal below.
  }
  const isPlain = !/[\s/:@?#[\]\\]/.test(plain);
  const labels = host.split(".");
  const fits = labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label)) && !ipv4(host);
  if (!isPlain || !fits || host.length > 253) throw new Error(`“${text}” is no host name.`);
  return wildcard + host;
}

/** Tell one name by its form: {type: dns | ip | email | uri, value, bytes}. Throws an Error to show. */
export function parseName(text) {
  if (text.includes("://")) {
    if (!/^[!-~]+$/.test(text)) throw new Error(`“${text}” is no URI.`);
    return { type: "uri", value: text, bytes: ascii(text) };
  }
  if (text.includes("@")) {
    const at = text.lastIndexOf("@");
    const value = `${text.slice(0, at)}@${hostname(text.slice(at + 1))}`;
    if (at < 1 || !/^[!-~]+$/.test(value)) throw new Error(`“${text}” is no mail address.`);
    return { type: "email", value, bytes: ascii(value) };
  }
  const address = text.includes(":") ? ipv6(text) : ipv4(text);
  if (address) return { type: "ip", value: text, bytes: address };
  if (text.includes(":") || /^[\d.]+$/.test(text)) throw new Error(`“${text}” is no IP address.`);
  const value = hostname(text);
  return { type: "dns", value, bytes: ascii(value) };
}

/** All names of a request: the common name first, then one a line or by commas, each once. */
export function parseNames(commonName, text) {
  const names = new Map();
  for (const word of [commonName, ...text.split(/[\s,]+/)]) {
    if (!word.trim()) continue;
    const name = parseName(word.trim());
    names.set(`${name.type}:${name.value}`, name);
  }
  if (!names.size) throw new Error("Give at least one name.");
  return [...names.values()];
}

/** Bytes as PEM text with a final line feed. */
export function pem(label, bytes) {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  const lines = btoa(binary).match(/.{1,64}/g).join("\n");
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}

/** Build and sign the request; names as of parseNames, the first one is the common name. Gives PEM. */
export async function buildRequest(keys, names) {
  const spki = new Uint8Array(await crypto.subtle.exportKey("spki", keys.publicKey));
  const common = names[0].type === "uri" || names[0].value.length > MAX_COMMON_NAME ? null : names[0].value;
  const subject = common
    ? tlv(SEQUENCE, tlv(SET, tlv(SEQUENCE, oid(OID.commonName), tlv(UTF8_STRING, ascii(common)))))
    : tlv(SEQUENCE);
  const general = tlv(SEQUENCE, ...names.map((name) => tlv(GENERAL_NAME[name.type], name.bytes)));
  // With an empty subject the names are all there is, so the extension is critical (RFC 5280 §4.2.1.6).
  const critical = common ? [] : [BOOLEAN_TRUE];
  const extension = tlv(SEQUENCE, oid(OID.subjectAltName), ...critical, tlv(OCTET_STRING, general));
  const attribute = tlv(SEQUENCE, oid(OID.extensionRequest), tlv(SET, tlv(SEQUENCE, extension)));
  const info = tlv(SEQUENCE, unsigned(new Uint8Array([0])), subject, spki, tlv(CONTEXT_0, attribute));
  const raw = new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, keys.privateKey, info));
  // WebCrypto gives r ‖ s; X.509 wants SEQUENCE { r, s } (RFC 3279 §2.2.3).
  const signature = tlv(SEQUENCE, unsigned(raw.slice(0, 32)), unsigned(raw.slice(32)));
  const request = tlv(
    SEQUENCE,
    info,
    tlv(SEQUENCE, oid(OID.ecdsaWithSHA256)),
    tlv(BIT_STRING, new Uint8Array([0]), signature),
  );
  return pem("CERTIFICATE REQUEST", request);
}
