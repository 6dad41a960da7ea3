# Dancer2: a small page, a late one, a large one, rows that are pushed, an upload.
package Pages;
use Dancer2; set logger => 'null'; set startup_info => 0;
get '/small' => sub { "small\n" };
get '/late' => sub { select undef, undef, undef, 0.3; "late\n" };
get '/large' => sub { 'x' x 300000 };
get '/none' => sub { status 204; '' };
post '/upload' => sub { length request->body };
get '/rows' => sub { delayed { flush; for (1 .. 8) { content "row of some length\n"; select undef, undef, undef, 0.2; } done; } };
Pages->to_app;
