/**
 * An {@link org.perflow.serve.Engine} over HTTP. {@link org.perflow.serve.http.PictureServer} is
 * the front door; each dialect is one file: {@link org.perflow.serve.http.Jobs} (our own), {@link
 * org.perflow.serve.http.OpenAi}, {@link org.perflow.serve.http.A1111} and {@link
 * org.perflow.serve.http.OllamaImages}. Who may come in is {@link org.perflow.serve.http.Access}'s,
 * what they send {@link org.perflow.serve.http.Body} reads.
 */
@NullMarked
package org.perflow.serve.http;

import org.jspecify.annotations.NullMarked;
