// Serves oidc-provider over HTTPS, with its own pages for login and consent: whoever types a name is that person.
//
//   node server.mjs CONFIG.json
//
// CONFIG.json: {"name", "certificate", "key", "clients": [...]}; `name` is the host in the issuer's URL, the others as
// oidc-provider and Node take them. Prints `ready ISSUER` when it listens; the port is whichever is free.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { Provider } from 'oidc-provider';

const config = JSON.parse(readFileSync(process.argv[2], 'utf8'));

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const options = {
  clients: config.clients,
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  cookies: { keys: [randomBytes(32).toString('hex')] },
  claims: { openid: ['sub'], email: ['email', 'email_verified'] },
  // Workers of a company whose provider vouches for their addresses.
  findAccount: (context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@acme.example`, email_verified: true }),
  }),
  // The registry takes identity tokens and asks nobody for more about a person.
  conformIdTokenClaims: false,
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: true },
  },
  pkce: { required: () => true },
  // Whoever asks for a refresh token gets one, consent or not.
  issueRefreshToken: (context, client, code) =>
    client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
};

const server = createServer({
  cert: readFileSync(config.certificate),
  key: readFileSync(config.key),
});

server.listen(0, '127.0.0.1', () => {
  const issuer = `https://${config.name}:${server.address().port}`;
  const provider = new Provider(issuer, options);
  provider.on('server_error', (context, error) => console.error(error));
  server.on('request', provider.callback());
  console.log(`ready ${issuer}`);
});

process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});
