package org.perflow.cli.terminal;

import java.io.FilterWriter;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.Writer;

/**
 * Shows characters that would command a terminal, instead of sending them: captions, prompts and
 * names in downloaded files may hold ESC (colours, titles, moves), BEL, CR (which hides what stood
 * there) and marks that turn the direction of reading. They come out as in Java and JSON: {@code
 * \}{@code u001b}. Line feeds and tabs stay. Everything that the commands print goes through here.
 */
public final class TerminalWriter extends FilterWriter {
  private static final String JOINERS = "\u200c\u200d"; // parts of emoji and of some scripts

  private TerminalWriter(Writer out) {
    super(out);
  }

  public static PrintWriter on(Writer out) {
    return new PrintWriter(new TerminalWriter(out), true);
  }

  @Override
  public void write(int character) throws IOException {
    write(Character.toString((char) character), 0, 1);
  }

  @Override
  public void write(char[] text, int from, int length) throws IOException {
    write(new String(text, from, length), 0, length);
  }

  @Override
  public void write(String text, int from, int length) throws IOException {
    out.write(escape(text.substring(from, from + length)));
  }

  /** {@code text} on a single line: line breaks are shown, too. */
  public static String line(String text) {
    return escape(text).replace("\n", "\\n");
  }

  private static String escape(String text) {
    StringBuilder shown = new StringBuilder(text.length());
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (text.startsWith(System.lineSeparator(), i) || c == '\t' || !commands(c)) {
        shown.append(c);
      } else {
        shown.append("\\u%04x".formatted((int) c));
      }
    }
    return shown.toString();
  }

  /** Control characters, marks of format (direction, invisible ones), and Unicode's line breaks. */
  private static boolean commands(char c) {
    int type = Character.getType(c);
    return c != '\n'
        && JOINERS.indexOf(c) < 0
        && (type == Character.CONTROL
            || type == Character.FORMAT
            || type == Character.LINE_SEPARATOR
            || type == Character.PARAGRAPH_SEPARATOR);
  }
}
