/**
 * An {@link org.perflow.serve.Engine} over HTTP. {@link org.perflow.serve.http.PictureServer} is
 * the front door; each dialect is one file: {@link org.perflow.serve.http.Jobs} (our own), {@link
 * org.perflow.serve.http.OpenAi}, {@link org.perflow.serve.http.A1111} and {@link
 * org.perflow.serve.http.OllamaImages}. Who may come in is {@link
 * org.perflow.serve.http.Access}'s, what they send {@link org.perflow.serve.http.Body} reads.
 *
 * <pre>{@code
 * ServerOptions options = ServerOptions.of(Path.of("models/emoji-64-perflow"));
 * try (PictureServer server = PictureServer.start(options.withPort(7860))) {
 *   server.awaitReady(Duration.ofMinutes(2)); // http://127.0.0.1:7860/ is the page
 *   server.drain();
 * }
 * }</pre>
 */
@NullMarked
package org.perflow.serve.http;

import org.jspecify.annotations.NullMarked;
