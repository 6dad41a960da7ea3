use Mojolicious::Lite -signatures;
sub pieces ($c, $type, $n, $pause, $text) {
  $c->res->headers->content_type($type);
  $c->inactivity_timeout(30);
  my $id; $id = Mojo::IOLoop->recurring($pause => sub { $c->write_chunk($n-- > 0 ? $text : ''); Mojo::IOLoop->remove($id) if $n < 0 });
  $c->on(finish => sub { Mojo::IOLoop->remove($id) });
  $c->write_chunk($text);
}
get '/events' => sub ($c) { pieces($c, 'text/event-stream', 20, 0.15, "data: event\n\n") };
get '/rows' => sub ($c) { pieces($c, 'application/x-ndjson', 30, 0.04, "{}\n") };
get '/late' => sub ($c) { $c->render_later; Mojo::IOLoop->timer(0.7 => sub { $c->render(text => 's' x 300) }) };
get '/empty' => sub ($c) { $c->rendered(204) };
get '/large' => sub ($c) { $c->render(text => 'l' x 300_000) };
get '/small' => sub ($c) { $c->render(text => 's' x 300) };
post '/upload' => sub ($c) { $c->render(text => length $c->req->body) };
websocket '/ws' => sub ($c) {
  my $n = 60;
  my $id; $id = Mojo::IOLoop->recurring(0.045 => sub { $n-- > 0 ? $c->send("tick $n") : $c->finish });
  $c->on(message => sub ($c, $text) { $c->send($text) });
  $c->on(finish => sub { Mojo::IOLoop->remove($id) });
};
app->start;
