"""Words that say too little to search by, for each language that the analyser knows.

They also tell the language of a text: function words are its surest sign.
"""

_ENGLISH = """
much many whose
a about above after again against all also am an and any are aren't as at be because been before being below
between both but by can can't cannot could couldn't did didn't do does doesn't doing don't down during each few
for from further had hadn't has hasn't have haven't having he he'd he'll he's her here here's hers herself him
himself his how how's i i'd i'll i'm i've if in into is isn't it it's its itself just let's me more most mustn't
my myself no nor not of off on once only or other ought our ours ourselves out over own same shan't she she'd
she'll she's should shouldn't so some such than that that's the their theirs them themselves then there there's
these they they'd they'll they're they've this those through to too under until up very was wasn't we we'd we'll
we're we've were weren't what what's when when's where where's which while who who's whom why why's will with
won't would wouldn't you you'd you'll you're you've your yours yourself yourselves
"""
_FRENCH = """
combien lequel laquelle lesquels lesquelles est-ce
à ai aie aient ait alors après as au aucun aura aussi autre aux avaient avais avait avant avec avez avoir avons
c'est ça car ce ceci cela celle celles celui ces cet cette ceux chez comme comment d'un d'une dans de depuis des
donc dont du elle elles en encore entre es est et étaient étais était été être eu eux fait faut il ils j'ai je
jusque l'on la là le les leur leurs lors lui ma mais me mes moi mon n'a n'est ne ni non nos notre nous on ont ou
où par parce pas peu peut plus pour pourquoi puis qu'elle qu'est qu'il qu'on qu'un quand que quel quelle quelles
quels qui quoi s'il sa sans se sera ses si son sont sous suis sur ta te tes toi ton tous tout toute toutes très
tu un une va vers voici voilà vos votre vous vu y
"""
_RUSSIAN = """
сколько какое какого какому каким какую каких какими чьи зачем откуда куда отчего насколько которого которой
кем чему почём почем своё свои своего своей своих нам нас тот та будет вообще
а без бы был была были было быть в вам вас весь во вот все всего всех всю всё вы где да даже для до его ее ей
ему если есть еще ещё её ж же за здесь и из или им их к как какая какие какой каком когда кого кому который
которая которые которое кто ли либо лишь меня мне много может мои мой моя моё мы на над надо наш наша не него нее
ней нет неё ни них но ну о об один он она они оно от очень по под почему при про раз с сам свой своя себе себя со
так также такой там те тебе тебя тем то тогда того тоже только том ты у уж уже хотя чего чей чем что чтобы чьё
чья эта эти это этого этой этом этот эту я
"""
_GERMAN = """
wieviel viele vielen weshalb wieso wann wohin woher wen wem wessen welchen welchem wurden worden
aber alle allem allen als also am an auch auf aus bei beim bin bis bist da damit dann das dass dein deine dem den
denn der des dessen die dies diese diesem diesen dieser dieses doch dort du durch ein eine einem einen einer eines
er es etwas euch euer für gegen gewesen hab habe haben hat hatte hatten hier hinter ich ihm ihn ihnen ihr ihre
ihrem ihren ihrer im in ins ist ja jede jedem jeden jeder jedes jetzt kann kein keine können man mein meine mich
mir mit muss nach nicht nichts noch nun nur ob oder ohne sehr sein seine seit sich sie sind so soll sondern über
um und uns unser unter viel vom von vor war waren warum was weg weil weiter welche welcher welches wenn wer werde
werden wie wieder will wir wird wo wurde zu zum zur zwar zwischen
"""
_SPANISH = """
cuánto cuánta cuántos cuántas cuanto cuanta cuantos cuantas cuáles cuales adónde adonde quiénes cómo
a al algo algunas algunos ante antes como con contra cual cuál cuándo cuando de del desde donde dónde durante e el
él ella ellas ellos en entre era eran eres es esa esas ese eso esos esta está estaba estado están estar estas este
esto estos fue fueron ha había han has hasta hay he la las le les lo los me mi mí mis mucho muy más nada ni no nos
nosotros nuestra nuestro o os otra otro para pero poco por porque qué que quien quién se sea ser si sido sin sobre
son soy su sus también tan te tengo ti tiene todo todos tu tú un una uno unos usted y ya yo
"""

STOP_WORDS: dict[str, frozenset[str]] = {
    "english": frozenset(_ENGLISH.split()),
    "french": frozenset(_FRENCH.split()),
    "russian": frozenset(_RUSSIAN.split()),
    "german": frozenset(_GERMAN.split()),
    "spanish": frozenset(_SPANISH.split()),
}
